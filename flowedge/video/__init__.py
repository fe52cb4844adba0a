"""Video in and out: cameras, files, folders, pictures; what FFmpeg does, in one place."""

"""What is planned with: cluster, profiles, problem, plan, prediction, and a checker for any plan."""

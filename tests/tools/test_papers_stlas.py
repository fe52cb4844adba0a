from __future__ import annotations

import pytest

from tools.papers.stlas import offloading
from tools.papers.stlas_jobs import mix, tiresias, tiresias_cluster

TABLE = """model,size_mb,gpu_cloud_ms,gpu_onprem_ms,cpu_cloud_ms,cpu_onprem_ms
ssd_mobilenet_v2,69.7,354,75,719,65
"""
BOARDS = """# source
board,framework,conn,mnv2_ms,mnv1_ms
rpi4,tflite,,112.6,82.7
"""


def test_offloading_follows_the_links(tmp_path):
    (tmp_path / "offload_table2.csv").write_text(TABLE)
    (tmp_path / "edge_accel_aallan.csv").write_text(BOARDS)
    head, *rows = offloading(tmp_path)
    found = {row[1:4]: dict(zip(head[4:], row[4:], strict=True)) for row in rows}
    as_measured = found["gpu", 100.0, 1.0]
    assert (as_measured["device ms"], as_measured["premises ms"], as_measured["cloud ms"]) == (113, 75, 354)
    assert (as_measured["goes to"], as_measured["if busy"]) == ("premises", "device")
    # 192 kB take 768 ms at 2 Mbit/s; the cloud's 294.4 ms of network shrink to a fiftieth: 59.6 + 5.9
    quick = found["gpu", 2.0, 50.0]
    assert (quick["premises ms"], quick["cloud ms"], quick["goes to"]) == (828, 66, "cloud")
    assert found["gpu", 2.0, 1.0]["goes to"] == "device"


def test_a_mix_has_the_load_and_the_share_of_long_jobs_that_it_says():
    specs = mix(1, 4000, 16, load=0.7, long=0.1)
    work = sum(len(spec.parts) * spec.seconds for spec in specs)
    assert work / (16 * specs[-1].arrival) == pytest.approx(0.7, rel=0.12)
    assert mix(1, 4000, 16, 0.7, 0.1) == specs
    assert sum(spec.seconds > 600 for spec in specs) / 4000 == pytest.approx(0.1 * 0.717, rel=0.2)


def test_trace_and_cluster_of_tiresias(tmp_path):
    (tmp_path / "60_job.csv").write_text(
        "job_id,num_gpu,submit_time,iterations,model_name,duration,interval\n7,2,204,192,resnet152,124,23\n"
    )
    (tmp_path / "n32g4.csv").write_text(
        "num_switch,num_node_p_switch,num_gpu_p_node,num_cpu_p_node,mem_p_node\n1,3,4,40,256\n"
    )
    (spec,) = tiresias(tmp_path)
    assert (spec.name, len(spec.parts), spec.arrival, spec.seconds) == ("7", 2, 204.0, 124.0)
    assert [worker.capacity for worker in tiresias_cluster(tmp_path)] == [(4.0,)] * 3

from __future__ import annotations

import math

import pytest

from flowedge.errors import ConfigError
from flowedge.runtime.controller.admission import LeastAttained
from tools.papers.stlas import offloading, own
from tools.papers.stlas_jobs import Simulation, Spec, cluster, jobs, mix, tiresias_cluster

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


def test_the_threshold_follows_the_services_of_jobs_that_are_done():
    workers = cluster(1, 1)
    specs = [Spec(str(at), ((1.0,),), 100.0 * at, 10.0 * (at + 1)) for at in range(6)]
    simulation = Simulation(workers, LeastAttained(math.inf), 1.0, quantile=0.5)
    simulation.run(specs[:4])
    assert simulation.policy == LeastAttained(math.inf)
    again = Simulation(workers, LeastAttained(math.inf), 1.0, quantile=0.5)
    again.run(specs)
    assert again.policy.threshold == pytest.approx(35.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_gpu,submit_time\n1,0\n", "line 1: the column 'duration' is missing"),
        ("NUM_GPU;Submit_Time;duration\n\n1;soon;3\n", "line 3: submit_time: 'soon' is not"),
        ("num_gpu,submit_time,duration\n1.5,0,3\n", "line 2: num_gpu 1.5"),
        ("num_gpu,submit_time,duration\n1,,3\n", "line 2: submit_time: '' is not"),
        ("num_gpu,submit_time,duration\n", "line 2: is missing"),
    ],
)
def test_mistakes_in_a_trace_of_jobs_are_named(text, message):
    with pytest.raises(ConfigError, match=message):
        jobs(text)


def test_a_trace_of_ones_own_is_checked_before_anything_runs(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("num_gpu,submit_time,duration\n9,0,3\n")
    with pytest.raises(ValueError, match="job 2 wants 9 GPUs, 2x4 has not as many"):
        own(path, "2x4")
    with pytest.raises(ValueError, match="--workers 2by4: write nodes x GPUs"):
        own(path, "2by4")
    assert len(own(path, "3x4")[2][0]) == 1


def test_units_of_a_trace_of_jobs():
    (spec,) = jobs("duration_min;num_gpu;Submit_Time (h)\n2;1;1\n")
    assert (spec.arrival, spec.seconds) == (3600.0, 120.0)


def test_trace_and_cluster_of_tiresias(tmp_path):
    trace = "job_id,num_gpu,submit_time,iterations,model_name,duration,interval\n7,2,204,192,resnet152,124,23\n"
    (tmp_path / "n32g4.csv").write_text(
        "num_switch,num_node_p_switch,num_gpu_p_node,num_cpu_p_node,mem_p_node\n1,3,4,40,256\n"
    )
    (spec,) = jobs(trace)
    assert (spec.name, len(spec.parts), spec.arrival, spec.seconds) == ("7", 2, 204.0, 124.0)
    assert [worker.capacity for worker in tiresias_cluster(tmp_path)] == [(4.0,)] * 3

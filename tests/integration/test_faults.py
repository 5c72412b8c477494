"""The fault runs (`python -m tests.faults`) work, here with few instances on the control plane of the session."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults import kills
from tests.faults.site import Site
from tests.integration.cluster import Lab

pytestmark = pytest.mark.integration


def test_kills_in_every_phase(lab: Lab, chart: Any) -> None:
    place = Site(lab=lab, user=chart.user)
    place.open()
    try:
        report = kills.run(place, instances=6, seed=1, kills=3, rest_s=0.5)
    finally:
        lab.controller.start()
        lab.controller.wait_ready()
    assert report.broken == []
    assert dict(report.figures)["kills"] == "3"

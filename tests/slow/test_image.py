"""The steps of the Dockerfile, without a container engine, in a clean environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import kroasync
from tests.unit.test_dockerfile import ROOT, copied, instructions


def test_its_steps_give_a_working_command(tmp_path: Path) -> None:
    """The RUN lines of the build stage, with a folder in place of the image."""
    source = tmp_path / "src"
    source.mkdir()
    for sources, target in copied():
        for name in sources:
            place = source / target / (name if target.endswith("/") else "")
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, place)
    home = tmp_path / "kroasync"
    path = os.pathsep.join((str(home / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")} | {"PATH": path}
    for step in instructions("RUN"):
        done = subprocess.run(
            step.replace("/opt/kroasync", str(home)),
            shell=True,
            cwd=source,
            env=environment,
            capture_output=True,
            text=True,
            timeout=250,
        )
        assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
    assert done.stdout == f"kroasync {kroasync.__version__}\n"
    # The package contains its data files, not only its modules.
    shutil.rmtree(source)
    definition, instance = (ROOT / "examples" / "webapplication" / f for f in ("resourcegroup.yaml", "instance.yaml"))
    rendered = subprocess.run(
        [str(home / "bin" / "kroasync"), "render", str(definition), str(instance)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert rendered.returncode == 0, rendered.stderr
    assert "kind: Deployment" in rendered.stdout

"""Workflow commands of GitHub Actions, which a runner turns into annotations of a commit.

Whatever a text holds, it cannot end its command and begin another one.
"""


def workflow_command(level: str, text: str, **properties: str | int | None) -> str:
    """One line: `::error file=a.yaml,line=3::text`. Properties that are None are left out."""
    shown = ",".join(f"{key}={_of_property(str(value))}" for key, value in properties.items() if value is not None)
    return f"::{level} {shown}".rstrip() + f"::{_of_message(text)}\n"


def _of_message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _of_property(text: str) -> str:
    return _of_message(text).replace(":", "%3A").replace(",", "%2C")

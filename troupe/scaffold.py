"""A project to begin with: a workflow, a role, the team in Python, a test without a model, a notebook and settings."""

from __future__ import annotations

import json
from pathlib import Path

from troupe.agents.errors import SettingsError

COMMANDS = (
    "troupe run team.yaml 'A page on why tides come twice a day'",
    "troupe validate team.yaml",
    "troupe draw team.yaml -o team.svg",
    "pytest",
)
"""What can be done at once in the new folder."""


def scaffold(folder: Path) -> list[str]:
    """Write the project and name its files.

    Raises:
        SettingsError: the folder has something in it, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{folder} is a file. Name a folder that is empty or not there yet.")
    if folder.is_dir() and any(folder.iterdir()):
        raise SettingsError(f"{folder} is not empty. Name a folder that is empty or not there yet.")
    try:
        for name, text in FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.lstrip("\n"), "utf-8")
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written: {error}.") from None
    return list(FILES)


def _notebook(*cells: str) -> str:
    """A notebook of code cells, after a first one in Markdown."""
    made: list[dict[str, object]] = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell-{at}",
            "metadata": {},
            "outputs": [],
            "source": cell,
        }
        for at, cell in enumerate(cells)
    ]
    made[0] = {"cell_type": "markdown", "id": "cell-0", "metadata": {}, "source": cells[0]}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return f"{json.dumps(whole, indent=1)}\n"


FILES: dict[str, str] = {
    "team.yaml": """
# Two find out at the same time what is to be said and to whom; a writer drafts; an editor polishes.
# What may stand here: troupe schema
name: team
description: A short text for curious readers.

agents:                                  # agents of this workflow; others are roles: troupe list
  writer:
    title: Writes short texts
    prompt: You write short, concrete texts for curious readers. No preamble.

phases:                                  # each begins when the one before it has ended
  - name: research
    kind: parallel
    steps:
      - name: facts
        agent: ai-researcher
        objective: Find out what is known, and how sure that is.
      - name: readers
        agent: business-analyst
        objective: Say who will read this, and what they know already.

  - name: draft
    agent: writer
    objective: Write the text.
    gate:                                # the editor sends it back at most twice; after that it is marked partial
      review: editor                     # (then: ask would ask you instead: troupe approve, answer or reject)
      at_least: 0.7
      rework: 2

  - name: final
    agent: editor
    needs: [readers, draft]              # what it waits for, and gets in full
    objective: Polish the draft and give the final text.
""",
    "team.py": '''
"""The team of team.yaml in Python: to run it from code, and to give it agents or functions of yours by name."""

import sys
from pathlib import Path

from troupe import Workflow, run

workflow = Workflow.read(Path(__file__).with_name("team.yaml"))
team = workflow.build()  # workflow.build(agents={"writer": my_function_or_graph}) puts yours in that place

if __name__ == "__main__":
    result = run(team, " ".join(sys.argv[1:]) or "A page on why tides come twice a day")
    print(result.answer)
    print(f"\\n{result.status}: {result.usage.calls} calls, {'simulated' if result.simulated else result.usage.usd}")
''',
    "roles/editor.md": """
---
name: editor
description: Reviews texts and polishes them
tier: economy
skills: [editing, review, style]
---
You are an editor. You judge a text by three questions: is it right, is it clear, is it short enough?

When you review, name what must change, most important first, and quote the words you mean. A text passes when a curious
reader would understand it at the first reading. When you polish, keep the author's voice and change only what must be.
""",
    "test_team.py": '''
"""The team without a model: what the gate does is tested, the words are scripted."""

from team import team

from troupe import Verdict, run, scripted


def test_a_weak_draft_goes_back_to_the_writer(no_real_models):
    model = scripted(
        {
            "facts": ["the moon pulls"],
            "readers": ["children"],
            "draft": ["a draft", "a better draft"],
            "editor": [Verdict(passed=False, score=0.3, feedback="say why"), Verdict(passed=True, score=0.9)],
            "final": ["the final text"],
        }
    )
    result = run(team, "Why are there tides?", model=model, db=":memory:")
    assert result.status == "completed"
    assert result.answer == "the final text"
    assert result["draft"].rounds == 2
''',
    "team.ipynb": _notebook(
        "# The team at work\n\nWithout a model the words are simulated: give `run` one (`model=`), or troupe.toml.",
        'from troupe import Workflow, run\n\nworkflow = Workflow.read("team.yaml")\nworkflow.build()',
        'result = run(workflow, "A page on why tides come twice a day")\nprint(result.status, result.usage.calls)\n'
        "print(result.answer)",
        "{name: (done.status, done.rounds, done.score) for name, done in result.deliverables.items()}",
    ),
    "troupe.toml": """
# Settings of this project; an argument or TROUPE_* in the environment goes before them.

roles = "roles"                        # agents of your own, shown by: troupe list

# model = "openai:gpt-5-mini"          # for every tier; without one, all words are simulated
# timeout = 120                        # seconds per attempt of a call
# retries = 3                          # further attempts after a failure that may pass
# max_concurrency = 32                 # calls at work at once
# db = "runs.db"                       # where runs are kept; by default in your state directory

# [tiers]                              # a model for each class of work
# economy = "openai:gpt-5-nano"
# premium = "openai:gpt-5"

# [providers.local]                    # a server that speaks OpenAI's protocol; then: model = "local:llama-3"
# base_url = "http://127.0.0.1:11434/v1"
# key_env = "LOCAL_API_KEY"            # the NAME of the variable that holds the key, if it needs one
""",
    "README.md": f"""
# A team

`team.yaml` says who does what, and when: two find out what is to be said and to whom, a writer drafts, an editor
reviews the draft (and sends it back if it is weak) and polishes it. `team.py` has the same for Python, `team.ipynb`
for a notebook.

```sh
{chr(10).join(COMMANDS)}
```

Without a model the words are simulated and cost nothing. With one: add `--model openai:gpt-5-mini` and set
`OPENAI_API_KEY`, or choose it in `troupe.toml`. `troupe doctor` says what is found on this machine.
""",
}

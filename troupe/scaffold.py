"""A project to begin with: a team of two with a gate, a role in a file, a test that needs no model, and settings."""

from __future__ import annotations

from pathlib import Path

from troupe.agents.errors import SettingsError

COMMANDS = (
    "troupe run team.py:team 'A page on why tides come twice a day'",
    "pytest",
    "troupe draw team.py:team -o team.svg",
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


FILES: dict[str, str] = {
    "team.py": '''
"""A team of two: a writer, and an editor who reviews the draft before it goes out."""

import sys
from pathlib import Path

from troupe import Step, agent, gate, non_empty, read_role, review, run, sequential

roles = Path(__file__).parent / "roles"

writer = agent("writer", "You write short, concrete texts for curious readers. No preamble.", tier="standard")
editor = agent(read_role(roles / "editor.md"))

# The editor's review sends a draft back to the writer at most twice; after that it is accepted and marked partial.
# then="ask" would ask you instead: troupe approve, answer or reject.
team = sequential(
    Step(writer, "Write the text.", name="draft", gate=gate(non_empty() & review(by=editor, at_least=0.7), rework=2)),
    Step(editor, "Polish the draft and give the final text.", name="final"),
    name="team",
)

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

Two agents: a writer drafts, an editor reviews the draft (and sends it back if it is weak) and polishes it.

```sh
{chr(10).join(COMMANDS)}
```

Without a model the words are simulated and cost nothing. With one: add `--model openai:gpt-5-mini` and set
`OPENAI_API_KEY`, or choose it in `troupe.toml`. `troupe doctor` says what is found on this machine.
""",
}

"""The roster: the 21 roles of a software organisation, as a table. Their prompts are `prompts/roles/NAME.md`."""

from __future__ import annotations

from pathlib import Path

from troupe.agents.errors import UnknownName
from troupe.agents.roles import Role, read_roles

# name | title | tier | level | backups | skills
_TABLE = """
ai-researcher         | Plans methodology, reviews evidence, recommends an approach           | premium  | strategic      | ai-engineer, business-analyst             | research, literature review, methodology, experiment design, hypothesis, baseline, benchmark, approach planning, evidence summary
specialist-engineer   | Implements one piece of work completely, with tests                   | standard | implementation | python-engineer, java-engineer            | implementation, feature, work package, coding, bug fix, refactoring, algorithm, unit tests, library
qa-engineer           | Plans and judges testing, validation and model validation             | standard | implementation | performance-engineer, specialist-engineer | testing, test strategy, test cases, end-to-end, validation, model validation, regression, defects, quality assurance
technical-writer      | Writes user guides, API guides and documentation                      | economy  | implementation | product-manager, business-analyst         | documentation, user guide, api guide, tutorial, readme, quick start, troubleshooting, release notes, reference
git-helper            | Manages version control, releases and deployment hand-over            | economy  | implementation | devops-engineer                           | git, version control, branching, merge, release management, changelog, semantic versioning, tag, deployment, rollback
frontend-engineer     | Builds accessible interfaces, components and client-side state        | standard | implementation | ui-ux-designer, specialist-engineer       | frontend, ui, components, state management, javascript, typescript, css, accessibility, forms, browser
python-engineer       | Builds Python backends, business logic and model serving              | standard | implementation | specialist-engineer, data-engineer        | python, backend api, business logic, fastapi, asyncio, data processing, serving, cli, pytest
database-engineer     | Designs schemas, indexes, queries and reversible migrations           | standard | implementation | data-engineer, python-engineer            | database, sql, schema design, indexes, query optimisation, migrations, transactions, constraints, postgresql
security-engineer     | Analyses threats, hardens systems, protects data and models           | premium  | tactical       | sr-architect, devops-engineer             | security, threat model, authentication, authorisation, vulnerability assessment, hardening, data protection, compliance, model security, prompt injection
integration-architect | Designs interfaces, protocols and contracts between components        | premium  | tactical       | sr-architect, specialist-engineer         | integration, api design, contracts, protocols, openapi, events, messaging, system landscape, idempotency, data mapping
sr-architect          | Designs systems, selects technology, guides by directives             | premium  | strategic      | integration-architect                     | architecture, system design, technology selection, directives, decision records, trade-offs, quality attributes, scalability, rulings
agent-architect       | Chooses how a team works together and who does what                   | premium  | strategic      | project-coordinator, sr-architect         | coordination, orchestration, multi-agent, assignment, delegation, task decomposition, routing, coordination pattern, hub
product-manager       | Turns problems into prioritised requirements and stories              | standard | strategic      | business-analyst                          | product, requirements, user stories, acceptance criteria, prioritisation, roadmap, scope, mvp, outcome metrics
ui-ux-designer        | Designs flows, interfaces, wording and a design system                | standard | implementation | frontend-engineer, product-manager        | ux, ui design, user experience, user flows, wireframes, design system, information architecture, interaction design, usability
devops-engineer       | Builds pipelines, infrastructure, deployment and monitoring           | standard | implementation | git-helper, python-engineer               | devops, ci/cd, pipeline, infrastructure as code, docker, kubernetes, deployment, model deployment, monitoring, runbook
performance-engineer  | Plans load tests, finds bottlenecks, optimises systems and inference  | standard | implementation | devops-engineer, qa-engineer              | performance, load testing, latency, throughput, profiling, bottleneck, optimisation, inference optimisation, capacity
data-engineer         | Builds data collection, pipelines, preprocessing and features         | standard | implementation | python-engineer, database-engineer        | data pipeline, etl, data collection, ingestion, preprocessing, feature engineering, data quality, data contracts, lineage
ai-engineer           | Designs, trains and evaluates models and model-based systems          | standard | implementation | ai-researcher, python-engineer            | machine learning, model architecture, training, hyperparameters, fine-tuning, evaluation, prompt engineering, retrieval, llm
business-analyst      | Analyses needs, stakeholders, processes and rules                     | standard | strategic      | product-manager                           | business analysis, requirements, stakeholders, process modelling, business rules, business case, gap analysis, glossary, traceability
java-engineer         | Builds robust Java enterprise services and their integrations         | standard | implementation | specialist-engineer                       | java, enterprise services, spring, jpa, transactions, messaging, jvm, legacy integration, maven, concurrency
project-coordinator   | Keeps stakeholders informed, leads plans and changes                  | economy  | coordination   | product-manager, business-analyst         | project coordination, stakeholder communication, change management, status report, planning, milestones, risks, action items, training
"""  # noqa: E501 - a table is read by its columns


def _row(line: str) -> Role:
    name, title, tier, level, backups, skills = (cell.strip() for cell in line.split("|"))
    return Role.model_validate(
        {
            "name": name,
            "title": title,
            "tier": tier,
            "level": level,
            "backups": backups.split(", "),
            "skills": skills.split(", "),
        }
    )


ROSTER: dict[str, Role] = {role.name: role for role in map(_row, _TABLE.strip().splitlines())}


def find_role(name: str, folder: str | Path | None = None) -> Role:
    """The role of that name: from a folder of Markdown roles (by default that of the settings), else from the roster.

    Raises:
        UnknownName: there is none; the message suggests the nearest.

    >>> find_role("qa-engineer").tier
    'standard'
    """
    return (roles := known_roles(folder)).get(name) or _unknown(name, roles)


def known_roles(folder: str | Path | None = None) -> dict[str, Role]:
    """Every role by name: the roster, and the folder's on top."""
    if folder is None:
        from troupe.agents.settings import Settings

        folder = Settings.refresh().roles
    return ROSTER | read_roles(folder) if folder else ROSTER


def _unknown(name: str, roles: dict[str, Role]) -> Role:
    raise UnknownName("role", name, roles, 'Write your own with agent("name", "prompt").')

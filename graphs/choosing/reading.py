"""Reading a task by its words: a deterministic assessment that costs nothing, where no model is there to read it.

It looks for the shape of a request, its acts, lists, numbers and joints, and for words of a few kinds, all English. A
text that it does not understand is a simple one to it, unless it is long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from troupe.agents.context import Quality, Timeline
from troupe.agents.matching import stems
from troupe.agents.roster import ROSTER
from troupe.graphs.choosing.assessment import HALF, Complexity, Reading


def _words(text: str) -> re.Pattern[str]:
    """Any of these, at the beginning of a word where it ends in `-`."""
    parts = "|".join(re.escape(one[:-1]) + r"\w*" if one.endswith("-") else re.escape(one) for one in text.split(";"))
    return re.compile(rf"\b(?:{parts})\b")


# What a request asks to be done; each begins an act.
_ACT = _words(
    "accept;add;analy-;answer;apply;assess;automat-;book;build;calculat-;check;classif-;clean;code;collect;"
    "compar-;compil-;compos-;comput-;configur-;convert;correct;craft;creat-;debug;decid-;defin-;deliver;deploy;"
    "deriv-;describ-;design;determin-;develop;diagram;document;draft;draw;edit;estimat-;evaluat-;explain;export;"
    "extend;extract;fill;find;fix;format;gather;generat-;giv-;give;implement;import;improve;install;integrat-;"
    "keep;launch;list;look up;make;measur-;meet;migrat-;model;modernis-;modify;monitor;mov-;name;optimi-;order;"
    "organi-;outlin-;parse;plan;polish;prepar-;present;priorit-;process;proofread;propos-;prototyp-;prove;"
    "publish;put;rank;rearrang-;recommend;redesign;refactor;releas-;remov-;renam-;replac-;report;reproduc-;"
    "review;revis-;rewrit-;rewrite;schedul-;secur-;select;set up;ship;simplif-;solv-;sort;specif-;summari-;"
    "support;test;train;translat-;tune;turn;updat-;upgrad-;valid-;value;verif-;write"
)
# What one does who does not know yet what will be found.
_SEEK = _words(
    "brainstorm-;brows-;chase;diagnos-;discover-;dig;experiment-;explor-;figure out;find out;hunt;investigat-;"
    "look around;look into;navigat-;poke;probe;research;scout;search;surf;track down;trace;try out;"
    "understand why;wander;work out why"
)
_OPEN = _words(
    "as we go;as we learn;cause;discontinued;experiment-;hypothes-;ideas;intermittent-;irregular;could work;"
    "good for;looks promising;might;mysterious;nobody knows;no idea;not known;open-ended;possibilities;promising;"
    "puzzling;questions will change;root cause;sporadic;unclear;undocumented;unexplained;unexpected;unknown;"
    "whatever;why;worth pursuing;could be;lost"
)
_JOINT = _words(
    "after;afterwards;and then;as soon as;before;depend-;finally;first;follow-;from it;from that;in order;"
    "in turn;last;lastly;moves;next;once;one after another;one after the other;one at a time;only then;"
    "prerequisite;previous;second;sequence;single;start only;step by step;step;subsequent-;the one before;then;"
    "third;until"
)
# Work that is one chain by its nature: what is possible next is what the last step left.
_CHAIN = _words(
    "after another;at a time;in the right order;itinerary;moves;needing the one before;one before;only after;"
    "previous one;schedul-;step by step"
)
_SCALE = _words(
    "access control;app;application;architectur-;audit;backend;claims;company-wide;compliance;complies;comply;"
    "cross-functional;deployment;departments;ecosystem;employees;enterprise;erp;framework;frontend;full-stack;"
    "governance;infrastructure;integrates;integration;inventory;legacy;marketplace;microservice-;modernis-;"
    "monitoring;monolith;multi-tenant;organisation-wide;organization-wide;partner;payment-;pipeline;platform;"
    "plants;portal;procurement;production;regulat-;reporting;rollout;saas;scalable;security;stakeholder-;"
    "subsidiaries;suite;system;systems;team;warehouse;web shop;web store"
)
_MANY = _words("all;each;every;everybody;everyone;respectively;per")
_CRITICAL = _words(
    "audit;bank-;clinical;compliance;complies;critical;fda;fraud;gdpr;hipaa;hospital-;legal;life-;medical;"
    "must not fail;patient-;regulatory;safety"
)
_HIGH = _words(
    "accura-;against each other;carefully;consistent;consistency;double-check;precise-;proofread;publication;"
    "publish;review-;rigorous;security;thorough-;verif-"
)
_URGENT = _words("asap;as soon as possible;at once;by tomorrow;hurry;immediately;right away;today;tonight;urgent-")
_FLEXIBLE = _words("at leisure;eventually;no hurry;no rush;some day;take your time;there is time;whenever")
_TOOLS = {
    "web search": _words("brows-;current;forums;look up;online;search online;search the;the web;website"),
    "code execution": _words("algorithm;api;bug;code;command-line;function;implement;python;script;sql;unit test-"),
    "database": _words("database;index;migration;query;queries;schema;sql;table"),
    "files": _words("attached;backup;csv;document;file;files;folder;pdf;photos;spreadsheet"),
    "version control": _words("branch;commit;git;merge;pull request;pull requests;repository"),
}
_COUNTED = "three four five six seven eight nine ten eleven twelve"
_NUMBERS = {word: number for number, word in enumerate(_COUNTED.split(), 3)}
_COUNT = re.compile(
    rf"(?<![\w.-])(\d[\d,]*|{'|'.join(_NUMBERS)}|dozens of|hundreds of)\s+((?:[a-z][\w-]*\s+){{0,2}}?[a-z][\w-]*s)\b"
)
_MEASURES = _words(
    "bullets;bytes;cents;days;degrees;dollars;euros;hours;items or less;kilometres;kilometers;lines;meters;"
    "metres;miles;minutes;months;pages;paragraphs;people;percents;points;pounds;seconds;sentences;slides;times;"
    "units;weeks;words;years"
)
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_ELEMENT = re.compile(r",\s+(?:and\s+|or\s+)?|\s+and\s+|\s+or\s+")
_NAME = re.compile(r"(?:[A-Z][\w&.-]*)(?:\s+[A-Z][\w&.-]*)*[.!?]?")


LONGEST = 20_000
"""Characters of a task that are read."""


def read(task: str) -> Reading:
    """What a task's words say of it.

    >>> read("Write a haiku.").complexity, read("Explore what could work, nobody knows yet.").exploratory >= 0.5
    ('simple', True)
    """
    return _read(" ".join(task[:LONGEST].split()))


@lru_cache(maxsize=512)
def _read(text: str) -> Reading:
    low = text.lower()
    sentences = [one for one in _SENTENCE.split(text) if one.strip()]
    acts, parts, names = 0, 0, 0
    for sentence in sentences:
        own, listed, named = _listed(sentence)
        acts, parts, names = acts + own, max(parts, listed), max(names, named)
    items = _items(low, names)
    exploratory = _exploratory(sentences, low)
    joints = max(len(_found(_JOINT, low)), len(_ORDER.findall(low)) * 2 - 1)
    chained = len(_found(_CHAIN, low))
    sequential = _share(0.12 * max(0, acts - 1) + 0.15 * joints + 0.3 * min(chained, 2))
    if sequential >= HALF:  # what is listed are steps
        parts = 0
    scale, fields = len(_found(_SCALE, low)), _disciplines(low)
    points = (
        min(len(text.split()) / 20, 1.5)
        + (min(0.75 * acts, 3.0) if acts > 1 else 0.0)
        + min(0.9 * max(0, parts - 2), 3.6)
        + min(0.8 * scale, 3.6)
        + min(0.5 * max(0, fields - 1), 2.0)
        + (0.8 if _WITH.search(low) else 0.0)
        + min(0.4 * (joints + chained), 0.8)
        + (1.0 if sequential >= HALF else 0.0)
        + (1.5 if items else 0.0)
        + (1.5 if exploratory >= HALF else 0.0)
    )
    if scale < 2 and parts < 4:  # long is not large
        points = min(points, _COMPLEX - 0.1)
    if items:
        decomposable = 0.75 + (0.1 if _MANY.search(low) else 0.0)
    else:
        decomposable = 0.15 + 0.15 * max(0, parts - 1) + 0.05 * fields
    return Reading(
        complexity=_complexity(points),
        decomposable=_share(decomposable - 0.4 * sequential),
        sequential=_share(sequential - (0.3 if items else 0.0)),
        exploratory=exploratory,
        items=items,
        tools=tuple(name for name, words in _TOOLS.items() if words.search(low)),
        quality=_quality(low),
        timeline=_timeline(low),
    )


_MODERATE, _COMPLEX, _ENTERPRISE = 1.8, 4.4, 8.0


def _complexity(points: float) -> Complexity:
    if points < _COMPLEX:
        return "simple" if points < _MODERATE else "moderate"
    return "complex" if points < _ENTERPRISE else "enterprise"


def _quality(low: str) -> Quality:
    return "critical" if len(_found(_CRITICAL, low)) > 1 else "high" if _HIGH.search(low) else "standard"


def _timeline(low: str) -> Timeline:
    return "flexible" if _FLEXIBLE.search(low) else "urgent" if _URGENT.search(low) else "normal"


def _listed(sentence: str) -> tuple[int, int, int]:
    """How many acts a sentence names, how many things it lists, and how many names."""
    elements = [one.strip() for one in _ELEMENT.split(sentence) if one.strip()]
    acts = [one for one in elements if _ACT.match(one.lower()) or _SEEK.match(one.lower())]
    things = [one for one in elements[1:] if one not in acts and len(one.split()) <= 6]
    names = [one for one in elements[1:] if _NAME.fullmatch(one)]
    named = len(names) + 1 if len(names) >= 2 and len(names) == len(things) else 0
    return len(acts), 0 if named else (len(things) + 1 if things else 0), named


def _items(low: str, names: int) -> int:
    """How many things the same is done for."""
    counts = [names]
    for number, things in _COUNT.findall(low):
        if not _MEASURES.search(things.split()[-1]):
            value = _NUMBERS.get(number) or (int(number.replace(",", "")) if number[0].isdigit() else 24)
            before = low[: low.find(f"{number} {things.split()[0]}")].split()[-3:]
            if 3 <= value <= 1000 and _SPREAD.intersection(before):
                counts.append(value)
    if max(counts) < 3 and _EVERY.search(low):
        counts.append(12)
    return max(counts) if max(counts) >= 3 else 0


_WITH = re.compile(r"\b(?:with|including) (?:[\w-]+ ){1,4}and\b|\bwith (?:[\w-]+, )+")
_SPREAD = frozenset(["all", "each", "every", "for", "of", "the", "these", "those", "this"])
_TIME = "second|minute|hour|day|week|month|quarter|year|time|step|move"
_EVERY = re.compile(
    rf"\b(?:for|of|by) (?:each|every|all)\b(?! (?:{_TIME}))|\ball (?:the )?\w+ \w+s\b"
    rf"|^(?:\w+ ){{1,2}}(?:each|every|all)\b(?! (?:{_TIME}))"
)
_ORDER = re.compile(r"\b(?:before|after)\b")


def _exploratory(sentences: Iterable[str], low: str) -> float:
    led = any(_SEEK.match(one.strip().lower()) for one in sentences)
    return _share((0.5 if led else 0.0) + 0.2 * len(_found(_OPEN, low)))


def _found(words: re.Pattern[str], low: str) -> set[str]:
    return {one[:7] for one in words.findall(low)}


def _disciplines(low: str) -> int:
    """How many roles of a software organisation have a skill of their own that is named."""
    said = stems(low)
    return sum(bool(said & own) for own in _own_skills())


@lru_cache(maxsize=1)
def _own_skills() -> tuple[frozenset[str], ...]:
    skills = {name: frozenset(word for one in role.skills for word in stems(one)) for name, role in ROSTER.items()}
    return tuple(
        frozenset(word for word in own if sum(word in other for other in skills.values()) == 1)
        for own in skills.values()
    )


def _share(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 2)

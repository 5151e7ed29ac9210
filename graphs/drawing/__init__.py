"""A graph as a picture: cards and arrows, read from LangGraph and painted as SVG or written as Mermaid, offline.

    drawing = Drawing.of(app.get_graph(xray=True))
    Path("team.svg").write_text(svg(drawing, title="My team"))
    print(mermaid(drawing))

LangGraph's own pictures need a web service, a browser or Graphviz; these need the standard library. The SVG has no
script, no link and no font of its own, and is readable on a light and on a dark page. Nothing in a node's name can
leave its place: markup is escaped, control characters are dropped.
"""

from troupe.graphs.drawing.cards import Arrow as Arrow
from troupe.graphs.drawing.cards import Card as Card
from troupe.graphs.drawing.cards import Drawing as Drawing
from troupe.graphs.drawing.cards import Kind as Kind
from troupe.graphs.drawing.cards import plain as plain
from troupe.graphs.drawing.export import png as png
from troupe.graphs.drawing.export import to_json as to_json
from troupe.graphs.drawing.flow import Built as Built
from troupe.graphs.drawing.flow import flow as flow
from troupe.graphs.drawing.folding import folded as folded
from troupe.graphs.drawing.mermaid import mermaid as mermaid
from troupe.graphs.drawing.paint import PALETTE as PALETTE
from troupe.graphs.drawing.paint import svg as svg
from troupe.graphs.drawing.states import Look as Look
from troupe.graphs.drawing.states import dressed as dressed

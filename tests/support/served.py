"""Teams for LangGraph's server, each with a gate that nothing passes, so that a person is asked."""

from __future__ import annotations

from troupe import Step, agent, contains, gate, hierarchical, mesh, parallel, review, sequential

A, B = agent("a", "Work."), agent("b", "Work.")
ASKS = gate(contains("what no model says"), rework=0, then="ask")

sequential_asks = sequential(Step(A, gate=ASKS), B).compile()
parallel_asks = parallel(Step(A, gate=ASKS), B, merge=agent("c", "Merge.")).compile()
hierarchical_asks = hierarchical(strategic=A, implementation=Step(B, gate=ASKS)).compile()
mesh_asks = mesh([Step(A, gate=ASKS), Step(B, gate=ASKS)], hub=agent("hub", "Route.")).compile()
nested_asks = sequential(Step(sequential(Step(A, gate=ASKS), name="inner"), name="outer"), B).compile()
reviewed = sequential(A, Step(B, gate=gate(review(by="qa-engineer")))).compile()
ASKING = ("sequential_asks", "parallel_asks", "hierarchical_asks", "mesh_asks", "nested_asks")

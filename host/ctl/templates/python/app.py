"""{{name}}: refuses the Pods of one namespace; all others answer ARP for their own addresses only.

The interface stands in wit/, with all its documentation.
"""

import json

import wit_world
from componentize_py_types import Err
from wit_world.imports import about, changes, types

SCHEMA = {
    "type": "object",
    "properties": {"namespace": {"type": "string", "description": "The namespace whose Pods are refused."}},
    "required": ["namespace"],
    "additionalProperties": False,
}


class WitWorld(wit_world.WitWorld):
    def describe(self) -> about.Description:
        return about.Description(
            name="{{name}}", version="0.1.0", needs=["pod.sysctl"], schema=json.dumps(SCHEMA)
        )

    def check(self, options: str) -> list[about.Problem]:
        if isinstance(json.loads(options).get("namespace"), str):
            return []
        return [about.Problem(path="namespace", text="expected the name of a namespace")]

    def decide(self, facts, options: str) -> changes.Decision:
        namespace = json.loads(options)["namespace"]
        request = facts.request
        if request.pod_namespace == namespace:
            # What is raised is the error of the result: a refusal.
            raise Err(
                changes.Refusal(
                    reason=f"Pods of namespace {namespace} may not use this network",
                    hint="ask the platform team for a network of your own",
                    retry=False,
                )
            )
        key = f"net/ipv4/conf/{request.interface}/arp_ignore"
        change = changes.Change_SetSysctl(types.Sysctl(side=types.Side.POD, key=key, value="1"))
        why = "an interface answers for its own addresses only"
        return changes.Decision(proposals=[changes.Proposal(change=change, why=why)], warnings=[])

// {{name}}: refuses the Pods of one namespace; all others answer ARP for their own addresses only.
// The interface stands in wit/, with all its documentation.

export function describe() {
  const schema = {
    type: "object",
    properties: { namespace: { type: "string", description: "The namespace whose Pods are refused." } },
    required: ["namespace"],
    additionalProperties: false,
  };
  return { name: "{{name}}", version: "0.1.0", needs: ["pod.sysctl"], schema: JSON.stringify(schema) };
}

export function check(options) {
  const { namespace } = JSON.parse(options);
  return typeof namespace === "string" ? [] : [{ path: "namespace", text: "expected the name of a namespace" }];
}

export function decide(facts, options) {
  const { namespace } = JSON.parse(options);
  if (facts.request.podNamespace === namespace) {
    // What is thrown is the error of the result: a refusal.
    throw {
      reason: `Pods of namespace ${namespace} may not use this network`,
      hint: "ask the platform team for a network of your own",
      retry: false,
    };
  }
  const key = `net/ipv4/conf/${facts.request.interface}/arp_ignore`;
  const change = { tag: "set-sysctl", val: { side: "pod", key, value: "1" } };
  return { proposals: [{ change, why: "an interface answers for its own addresses only" }], warnings: [] };
}

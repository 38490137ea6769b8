// {{name}}: refuses the Pods of one namespace; all others answer ARP for their own addresses only.
//
// build/bindings.h is made of wit/ by `coordinatorctl stage build`; it has a type for each one of the interface.

#include "bindings.h"
#include <stdlib.h>
#include <string.h>

static void set(bindings_string_t *to, const char *text) { bindings_string_dup(to, text); }

// Joins texts into a new one.
static void join(bindings_string_t *to, const char *before, bindings_string_t middle, const char *after) {
  size_t first = strlen(before), last = strlen(after);
  to->len = first + middle.len + last;
  to->ptr = malloc(to->len);
  memcpy(to->ptr, before, first);
  memcpy(to->ptr + first, middle.ptr, middle.len);
  memcpy(to->ptr + first + middle.len, after, last);
}

// The text of an option in a JSON object of texts; one without escapes is enough for a namespace's name.
static bindings_string_t option(bindings_string_t json, const char *name) {
  bindings_string_t none = {NULL, 0};
  size_t length = strlen(name);
  for (size_t at = 0; at + length + 2 < json.len; at++) {
    if (json.ptr[at] != '"' || memcmp(json.ptr + at + 1, name, length) || json.ptr[at + 1 + length] != '"') continue;
    size_t from = at + length + 2;
    while (from < json.len && (json.ptr[from] == ':' || json.ptr[from] == ' ')) from++;
    if (from >= json.len || json.ptr[from] != '"') return none;
    size_t to = ++from;
    while (to < json.len && json.ptr[to] != '"') to++;
    return (bindings_string_t){json.ptr + from, to - from};
  }
  return none;
}

void exports_bindings_describe(bindings_description_t *description) {
  set(&description->name, "{{name}}");
  set(&description->version, "0.1.0");
  description->needs.ptr = malloc(sizeof(bindings_string_t));
  description->needs.len = 1;
  set(&description->needs.ptr[0], "pod.sysctl");
  set(&description->schema,
      "{\"type\":\"object\",\"properties\":{\"namespace\":{\"type\":\"string\",\"description\":\"The namespace whose Pods "
      "are refused.\"}},\"required\":[\"namespace\"]}");
}

void exports_bindings_check(bindings_string_t *options, bindings_list_problem_t *problems) {
  problems->ptr = NULL;
  problems->len = 0;
  if (option(*options, "namespace").len) return;
  problems->ptr = malloc(sizeof(bindings_problem_t));
  problems->len = 1;
  set(&problems->ptr[0].path, "namespace");
  set(&problems->ptr[0].text, "expected the name of a namespace");
}

// Returns true with a decision, false with a refusal.
bool exports_bindings_decide(bindings_snapshot_t *facts, bindings_string_t *options, bindings_decision_t *decision,
                             bindings_refusal_t *refusal) {
  bindings_string_t namespace = option(*options, "namespace");
  bindings_string_t of_pod = facts->request.pod_namespace;
  if (of_pod.len == namespace.len && !memcmp(of_pod.ptr, namespace.ptr, namespace.len)) {
    join(&refusal->reason, "Pods of namespace ", namespace, " may not use this network");
    refusal->hint.is_some = true;
    set(&refusal->hint.val, "ask the platform team for a network of your own");
    refusal->retry = false;
    return false;
  }
  decision->warnings.ptr = NULL;
  decision->warnings.len = 0;
  decision->proposals.ptr = malloc(sizeof(*decision->proposals.ptr));
  decision->proposals.len = 1;
  coordinator_stage_changes_proposal_t *proposal = decision->proposals.ptr;
  proposal->change.tag = COORDINATOR_STAGE_CHANGES_CHANGE_SET_SYSCTL;
  proposal->change.val.set_sysctl.side = COORDINATOR_STAGE_TYPES_SIDE_POD;
  join(&proposal->change.val.set_sysctl.key, "net/ipv4/conf/", facts->request.interface, "/arp_ignore");
  set(&proposal->change.val.set_sysctl.value, "1");
  set(&proposal->why, "an interface answers for its own addresses only");
  return true;
}

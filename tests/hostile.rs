//! Guests that misbehave, each asked in this process: it ends within its limits, and the error names what and why.

use std::{sync::OnceLock, time::Duration};

use coordinator_core::guest::{Artefacts, Digest, Guest, GuestError, Limits, Shelf, StageFailure, compile};
use coordinator_guests::{component, handwritten, module, root, skeleton};
use coordinator_sdk::{Address, AddressFlags, Device, Facts, Link};
use coordinator_stages::kernel::processor_time;
use serde_json::json;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_millis(20);
/// What the contract allows beside the limit.
const GRACE: Duration = Duration::from_millis(5);

fn facts() -> Facts {
    let mut facts = Facts::default();
    facts.request.pod_name = "web-0".to_owned();
    facts.model.links = ["lo", "eth0"].map(|name| Link::named(Device::pod(name))).to_vec();
    facts.model.addresses.push(Address {
        device: Device::pod("eth0"),
        prefix: "10.6.0.7/16".parse().unwrap(),
        gateway: None,
        flags: AddressFlags::default(),
    });
    facts
}

/// Asks a guest; fails when that took longer than its limit and the grace. The clock is a thread, which a busy machine may
/// keep waiting, so one try of some must be in time.
fn ask(guest: &Guest) -> Result<usize, StageFailure> {
    let facts = facts();
    // The artefact is mapped with the first call; that is not the guest's time.
    drop(guest.ready());
    let mut took = Duration::MAX;
    for _ in 0..10 {
        let before = processor_time::of_this_thread().unwrap();
        let answer = guest.decide(&facts);
        took = processor_time::of_this_thread().unwrap() - before;
        if took <= LIMIT + GRACE {
            return answer.map(|decision| decision.proposals.len());
        }
    }
    panic!("{} took {took:?}", guest.name());
}

fn failure(guest: &Guest) -> GuestError {
    match ask(guest) {
        Err(StageFailure::Failed(failure)) => {
            let remedy = failure.remedy(guest.name());
            assert!(remedy.contains("stage hostile"), "{failure}: {remedy}");
            failure
        }
        other => panic!("{other:?}"),
    }
}

/// The guest that does what it is told, compiled once for all tests of this process.
fn with_sdk() -> impl Fn(&str) -> Guest {
    static COMPILED: OnceLock<(TempDir, Digest)> = OnceLock::new();
    let (folder, digest) = COMPILED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let compiled = compile(&component("hostile-guest", &[]).unwrap()).unwrap();
        let artefacts = Artefacts::make(&folder.path().join("stages")).unwrap();
        artefacts.store(&compiled.artefact, &compiled.manifest).unwrap();
        (folder, compiled.manifest.source)
    });
    let directory = folder.path().join("stages");
    move |deed| {
        let grants = ["pod.link", "pod.route", "node.sysctl"].map(str::to_owned).to_vec();
        let guest = Guest::new("hostile", *digest, Shelf::at(&directory));
        guest
            .grants(grants)
            .limits(Limits { time: LIMIT, ..Limits::default() })
            .options(json!({"deed": deed}).to_string())
    }
}

#[test]
fn a_guest_with_a_fault_is_ended_and_named() {
    let doing = with_sdk();
    assert_eq!(ask(&doing("nothing")).unwrap(), 0);
    let expected = [
        ("loop", "after 20ms of processor time"),
        ("recursion", "out of bounds memory access"),
        ("panic", "its last words: panicked at tests/guests/hostile/src/lib.rs"),
        ("panic", "the rails are not where they were"),
        ("two-million-changes", "16777216"),
        ("many-changes", "1001 changes, and may propose 1000"),
        ("long-reason", "more than 1048576 bytes at once"),
        ("ungranted", "proposal 0 (pod.rule) is not granted"),
        ("ungranted-setting", "proposal 0 (setting.serviceCIDR) is not granted"),
        ("other-interface", "pod/lo, which is not this attachment's"),
        ("kernel-table", "table 255"),
        ("multicast-mac", "01:00:5e:00:00:01"),
        ("node-parameter", "net/ipv4/ip_forward"),
    ];
    for (deed, said) in expected {
        let failure = failure(&doing(deed)).to_string();
        assert!(failure.contains(said), "{deed}: {failure}");
    }
    // So little that a machine that is slow to give memory is not met by the time instead.
    let little = Limits { time: LIMIT, memory_bytes: 4 << 20, ..Limits::default() };
    let hoarder = failure(&doing("memory").limits(little)).to_string();
    assert!(hoarder.contains("bytes of memory, and may have 4194304"), "{hoarder}");
    let early = doing("early-priority").grants(vec!["pod.rule".to_owned()]);
    assert!(failure(&early).to_string().contains("priority 1, which is not from 1001 to 1999"));
    // Whoever only talks too much is ended by his time, as any other, and not listened to for so long.
    let patient = doing("chatter").limits(Limits { time: Duration::from_secs(10), ..Limits::default() });
    assert_eq!(patient.decide(&facts()).unwrap().proposals.len(), 0);
    match ask(&doing("refuse")) {
        Err(StageFailure::Refused(refusal)) => {
            assert_eq!(
                (refusal.reason.as_str(), refusal.hint.as_deref()),
                ("web-0 may not run here", Some("ask elsewhere"))
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_options_are_named_by_the_guest_itself() {
    let doing = with_sdk();
    for (options, said) in [
        (json!({"deed": 7}), "deed: "),
        (json!({"deed": "dance"}), "unknown variant `dance`"),
        (json!({}), "missing field `deed`"),
        (json!({"deed": "nothing", "haste": true}), "unknown field `haste`"),
    ] {
        let guest = doing("nothing").options(options.to_string());
        let failure = failure(&guest);
        assert!(matches!(failure, GuestError::Options { .. }) && failure.to_string().contains(said), "{failure}");
        assert_eq!(guest.ready().unwrap_err().to_string(), failure.to_string());
    }
}

/// A guest in text; `decide` answers with what lies at 2048.
fn written(items: &str, decide: &str, pages: u64) -> Guest {
    let component = handwritten(&skeleton(items, decide, pages), &root().join("wit")).unwrap();
    let guest = Guest::of_component("hostile", &component).unwrap();
    guest.limits(Limits { time: LIMIT, ..Limits::default() })
}

#[test]
fn a_module_that_plays_tricks_is_ended_and_named() {
    const ANSWER: &str = "(i32.const 2048)";
    assert_eq!(ask(&written("", ANSWER, 2)).unwrap(), 0);

    let endless = "(start $endless) (func $endless (loop $again (br $again)))";
    assert!(matches!(failure(&written(endless, ANSWER, 2)), GuestError::Time { .. }));
    let trapping = "(start $trap) (func $trap unreachable)";
    assert!(failure(&written(trapping, ANSWER, 2)).to_string().contains("unreachable"));
    assert!(failure(&written("", "unreachable", 2)).to_string().contains("unreachable"));

    let deep = "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))";
    let failed = failure(&written(deep, "(call $deep (i32.const 1))", 2)).to_string();
    assert!(failed.contains("stack of 524288 bytes"), "{failed}");

    // 4 GiB of memory from the beginning, and everything that one can ask for later.
    let failed = failure(&written("", ANSWER, 65536)).to_string();
    assert!(failed.contains("wanted 4294967296 bytes of memory, and may have 16777216"), "{failed}");
    let failed = failure(&written("", "(drop (memory.grow (i32.const 40000))) (i32.const 2048)", 2));
    assert!(matches!(failed, GuestError::Memory { .. }), "{failed}");

    // ok(decision { proposals: [], warnings: list of `count` strings, at `list` }), all of them one string at 0.
    let warnings = |count: u32, list: u32, text: &str, length: u32| {
        let fill = format!(
            r#"(local $at i32)
            (loop $more
              (i32.store offset={list} (local.get $at) (i32.const 16))
              (i32.store offset={list} (i32.add (local.get $at) (i32.const 4)) (i32.const {length}))
              (local.set $at (i32.add (local.get $at) (i32.const 8)))
              (br_if $more (i32.lt_u (local.get $at) (i32.const {}))))
            (i32.store (i32.const 2060) (i32.const {list}))
            (i32.store (i32.const 2064) (i32.const {count}))
            (i32.const 2048)"#,
            count * 8
        );
        written(&format!(r#"(data (i32.const 16) "{text}")"#), &fill, 16)
    };
    assert_eq!(ask(&warnings(64, 131_072, "a warning", 9)).unwrap(), 0);
    // 20,000 times the same 60,000 bytes: 1.2 GB, were each copied.
    let aliased = failure(&warnings(20_000, 131_072, "a warning", 60_000));
    assert!(matches!(aliased, GuestError::Output { limit: 1_048_576 }), "{aliased}");
    let not_text = failure(&warnings(1, 131_072, "\\ff\\fe\\fd", 3)).to_string();
    assert!(not_text.contains("utf-8"), "{not_text}");
    let outside =
        "(i32.store (i32.const 2060) (i32.const -8)) (i32.store (i32.const 2064) (i32.const 9)) (i32.const 2048)";
    assert!(matches!(failure(&written("", outside, 2)), GuestError::Unreadable { .. }));
    // Two million proposals that need not be there: the list's length alone says too much.
    let claimed =
        "(i32.store (i32.const 2052) (i32.const 0)) (i32.store (i32.const 2056) (i32.const 2000000)) (i32.const 2048)";
    let claimed = failure(&written("", claimed, 2048 / 8));
    assert!(matches!(claimed, GuestError::Output { .. } | GuestError::Unreadable { .. }), "{claimed}");
    // An answer that is neither yes nor no.
    assert!(matches!(
        failure(&written("", "(i32.store8 (i32.const 2048) (i32.const 7)) (i32.const 2048)", 2)),
        GuestError::Unreadable { .. }
    ));
}

#[test]
fn a_module_for_another_world_is_no_guest() {
    let wit = root().join("wit");
    // WASI beside our own import.
    let text = skeleton("", "(i32.const 2048)", 2).replacen(
        "(memory",
        r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))) (memory"#,
        1,
    );
    let refused = coordinator_core::guest::encode(&module(&text, &wit).unwrap()).unwrap_err().to_string();
    assert!(refused.contains("wasi_snapshot_preview1") && refused.contains("wasm32-unknown-unknown"), "{refused}");

    // A component that imports WASI by its interface.
    let component =
        wat::parse_str(r#"(component (import "wasi:cli/environment@0.2.0" (instance (export "f" (func)))))"#).unwrap();
    let refused = compile(&component).unwrap_err().to_string();
    assert!(refused.contains("wasi:cli/environment@0.2.0") && refused.contains("--stub-wasi"), "{refused}");

    // The interface of a version that this host does not speak.
    let component =
        wat::parse_str(r#"(component (import "coordinator:stage/host@7.0.0" (instance (export "log" (func)))))"#)
            .unwrap();
    let refused = compile(&component).unwrap_err().to_string();
    assert!(refused.contains("coordinator:stage/host@7.0.0") && refused.contains("0.1.0"), "{refused}");

    // Nothing at all, and something else.
    let refused = compile(&wat::parse_str("(component)").unwrap()).unwrap_err().to_string();
    assert!(refused.contains("does not export the function describe"), "{refused}");
    let refused = compile(&wat::parse_str("(module)").unwrap()).unwrap_err().to_string();
    assert!(refused.contains("coordinatorctl stage build"), "{refused}");
    assert!(compile(b"#!/bin/sh\n").is_err());
}

//! The speed reference of the benchmarks is not written yet: it will send an ADD's netlink messages hard-coded.

fn main() -> std::process::ExitCode {
    eprintln!("the floor program is not written yet");
    std::process::ExitCode::FAILURE
}

//! What the subcommands need beside cargo, who needs it, and how one sees that it is there.
//!
//! These are tables and questions; `setup` acts on the answers. A need that nobody has any more is
//! taken out, and a new one is one entry.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::dist;

/// What a developer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// The release binaries.
    Dist,
    /// All tests.
    Test,
    /// The tests of stages in languages whose compilers are packages of other worlds.
    Languages,
    /// The benchmarks.
    Bench,
    /// The manifests that are rendered from the chart.
    Manifests,
}

/// A target of the Rust toolchain.
#[derive(Debug)]
pub struct Target {
    /// Its name.
    pub triple: &'static str,
    /// Who needs it …
    pub jobs: &'static [Job],
    /// … and what for.
    pub purpose: &'static str,
}

/// The toolchain's targets beside the host's own.
pub const TARGETS: [Target; 2] = [
    Target { triple: dist::TRIPLE, jobs: &[Job::Dist, Job::Test, Job::Bench], purpose: "the static release binaries" },
    Target { triple: "wasm32-unknown-unknown", jobs: &[Job::Test, Job::Bench], purpose: "guests" },
];

/// How one sees that a package is there.
#[derive(Debug)]
pub enum Proof {
    /// A program on the search path, or where system programs live.
    Program(&'static str),
    /// The same, and it works in a root directory that holds nothing else.
    StaticProgram(&'static str),
    /// A file.
    File(&'static str),
    /// Something that Python can import.
    PythonModule(&'static str),
}

/// A Debian package.
#[derive(Debug)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// What it brings.
    pub proof: Proof,
    /// Who needs it …
    pub jobs: &'static [Job],
    /// … and what for.
    pub purpose: &'static str,
}

/// A package of PyPI's, put below the target directory and nowhere else.
#[derive(Debug)]
pub struct Wheel {
    /// Its name on PyPI.
    pub name: &'static str,
    /// The version that the tests were written for.
    pub version: &'static str,
    /// Who needs it …
    pub jobs: &'static [Job],
    /// … and what for.
    pub purpose: &'static str,
}

/// Helm has no Debian package; this one is Helm's own code as a library.
pub const WHEELS: [Wheel; 1] = [Wheel {
    name: "helm-python-sdk",
    version: "0.2.2",
    jobs: &[Job::Test, Job::Manifests],
    purpose: "Helm itself, which renders the chart",
}];

impl Wheel {
    /// The folder that Python finds it in.
    pub fn folder(target: &Path) -> PathBuf {
        target.join("tools/python")
    }

    /// Looks for it.
    pub fn is_there(&self, target: &Path) -> bool {
        let mark = format!("{}-{}.dist-info", self.name.replace('-', "_"), self.version);
        Self::folder(target).join(mark).is_dir()
    }
}

/// The programs that the lab, its stand-ins and the references are made of.
pub const PACKAGES: [Package; 16] = [
    Package {
        name: "musl-tools",
        proof: Proof::Program("x86_64-linux-musl-gcc"),
        jobs: &[Job::Dist, Job::Test, Job::Bench],
        purpose: "the C in the plugin's sandbox and in the TLS of agent and tool, for static binaries",
    },
    Package {
        name: "python3-pip",
        proof: Proof::Program("pip3"),
        jobs: &[Job::Test, Job::Manifests],
        purpose: "what brings Helm",
    },
    Package {
        name: "iproute2",
        proof: Proof::Program("ip"),
        jobs: &[Job::Test, Job::Bench],
        purpose: "the lab's links, and a second view of what a plugin left",
    },
    Package {
        name: "nftables",
        proof: Proof::Program("nft"),
        jobs: &[Job::Test, Job::Bench],
        purpose: "the lab's kube-proxy stand-in",
    },
    Package {
        name: "iptables",
        proof: Proof::Program("iptables"),
        jobs: &[Job::Test],
        purpose: "what a runtime's own plugins call",
    },
    Package {
        name: "strace",
        proof: Proof::Program("strace"),
        jobs: &[Job::Test],
        purpose: "kills and counts at single system calls",
    },
    Package {
        name: "containernetworking-plugins",
        proof: Proof::File("/usr/lib/cni/macvlan"),
        jobs: &[Job::Test, Job::Bench],
        purpose: "the plugin before ours in the chain, and the benchmark's references",
    },
    Package {
        name: "busybox-static",
        proof: Proof::StaticProgram("busybox"),
        jobs: &[Job::Test],
        purpose: "the container of the test with a real runtime",
    },
    Package {
        name: "podman",
        proof: Proof::Program("podman"),
        jobs: &[Job::Test],
        purpose: "the test with a real runtime",
    },
    Package {
        name: "runc",
        proof: Proof::Program("runc"),
        jobs: &[Job::Test],
        purpose: "the test with a real runtime",
    },
    Package {
        name: "docker-registry",
        proof: Proof::Program("docker-registry"),
        jobs: &[Job::Test],
        purpose: "the registry that stages are put into and taken from",
    },
    Package {
        name: "openssl",
        proof: Proof::Program("openssl"),
        jobs: &[Job::Test],
        purpose: "the certificate of that registry",
    },
    Package {
        name: "clang",
        proof: Proof::Program("clang"),
        jobs: &[Job::Test],
        purpose: "the template of a stage in C",
    },
    Package {
        name: "lld",
        proof: Proof::Program("wasm-ld"),
        jobs: &[Job::Test],
        purpose: "the template of a stage in C",
    },
    Package {
        name: "npm",
        proof: Proof::Program("npm"),
        jobs: &[Job::Languages],
        purpose: "the compiler of stages in JavaScript",
    },
    Package {
        name: "python3-venv",
        proof: Proof::PythonModule("ensurepip"),
        jobs: &[Job::Languages],
        purpose: "the compiler of stages in Python",
    },
];

impl Proof {
    /// Looks for it.
    pub fn holds(&self) -> bool {
        match self {
            Self::Program(name) => program(name).is_some(),
            Self::StaticProgram(name) => {
                program(name).is_some_and(|path| dist::interpreter(&path).is_ok_and(|it| it.is_none()))
            }
            Self::File(path) => Path::new(path).is_file(),
            Self::PythonModule(name) => {
                let import =
                    Command::new("python3").args(["-c", &format!("import {name}")]).stderr(Stdio::null()).status();
                import.is_ok_and(|status| status.success())
            }
        }
    }
}

/// Finds a program on the search path, or in the folders that an ordinary user's path may lack.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|folder| folder.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_tells_what_is_there_from_what_is_not() {
        assert!(Proof::Program("sh").holds());
        assert!(!Proof::Program("no-such-program").holds());
        assert!(Proof::File("/proc/self/exe").holds());
        assert!(!Proof::File("/proc/self").holds(), "a folder is no file");
        // The shell of every distribution that has cargo is linked dynamically.
        assert!(!Proof::StaticProgram("sh").holds());
        assert!(Proof::PythonModule("sys").holds() && !Proof::PythonModule("no_such_module").holds());
    }

    #[test]
    fn every_need_has_someone_who_needs_it() {
        assert!(PACKAGES.iter().all(|package| !package.jobs.is_empty() && !package.purpose.is_empty()));
        assert!(TARGETS.iter().all(|target| !target.jobs.is_empty() && !target.purpose.is_empty()));
    }
}

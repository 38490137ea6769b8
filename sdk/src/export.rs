//! `export_stage!`: a stage becomes a component, and says what it is.

/// Exports a stage, so that the crate can be built as a WebAssembly component.
///
/// `needs` lists the grants that the stage asks a pipeline for: one for each kind of change that it may propose.
/// The crate's name and version become the stage's, unless a `name` is given. On other targets than `wasm32` nothing is made, so the same
/// crate can be tested natively.
///
/// ```
/// # struct LowPorts;
/// # impl coordinator_sdk::Stage for LowPorts {
/// #     type Options = ();
/// #     fn decide(_: &coordinator_sdk::Facts, _: &()) -> Result<coordinator_sdk::Decision, coordinator_sdk::Refusal> {
/// #         Ok(coordinator_sdk::Decision::default())
/// #     }
/// # }
/// coordinator_sdk::export_stage!(LowPorts, needs: ["pod.sysctl"]);
/// ```
#[macro_export]
macro_rules! export_stage {
    ($stage:ty) => {
        $crate::export_stage!($stage, name: env!("CARGO_PKG_NAME"), needs: []);
    };
    ($stage:ty, needs: [$($grant:literal),* $(,)?]) => {
        $crate::export_stage!($stage, name: env!("CARGO_PKG_NAME"), needs: [$($grant),*]);
    };
    ($stage:ty, name: $name:expr, needs: [$($grant:literal),* $(,)?]) => {
        const _: () = {
            /// What the component exports stands for this stage.
            const fn is_stage<S: $crate::Stage>() {}
            is_stage::<$stage>();
        };
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::guest::bindings::{Decision, Description, Problem, Refusal, Snapshot};

            struct Component;

            impl $crate::guest::bindings::Guest for Component {
                fn describe() -> Description {
                    $crate::guest::describe::<$stage>(
                        $name,
                        env!("CARGO_PKG_VERSION"),
                        &[$($grant),*],
                        option_env!("COORDINATOR_STAGE_SCHEMA"),
                    )
                }

                fn check(options: String) -> Vec<Problem> {
                    $crate::guest::check::<$stage>(&options)
                }

                fn decide(facts: Snapshot, options: String) -> Result<Decision, Refusal> {
                    $crate::guest::decide::<$stage>(facts, &options)
                }
            }

            $crate::guest::export_component!(Component with_types_in $crate::guest::bindings);
        };
    };
}

//! How ensembles come about, and how servers come and go.
//!
//! Every test starts real servers, and looks at them as clients and operators do: who leads, what is
//! in the trees, what the logs say. `FORMATION_ALL=1` takes every step where usually a few do.

mod founding;
mod rig;
#[path = "../support/mod.rs"]
mod support;
mod tree;

use std::process::ExitCode;

/// Tests at once: each runs a few servers that mostly wait.
const THREADS: usize = 3;

/// Whether every step is wished for.
pub(crate) fn is_thorough() -> bool {
    std::env::var_os("FORMATION_ALL").is_some()
}

fn main() -> ExitCode {
    support::run(
        &[
            ("three_servers_form_an_ensemble_in_any_order", founding::any_order),
            ("two_of_three_found_an_ensemble_and_the_third_joins", founding::two_of_three),
            ("an_ensemble_that_is_restarted_as_a_whole_loses_nothing", founding::restarted),
            ("killed_while_it_is_founded_there_is_one_ensemble", founding::killed),
            ("all_killed_while_it_is_founded_there_is_one_ensemble", founding::all_killed),
            ("four_and_five_servers_form_an_ensemble", founding::four_and_five),
        ],
        THREADS,
    )
}

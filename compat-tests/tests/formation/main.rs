//! How ensembles come about, and how servers come and go.
//!
//! Every test starts real servers, and looks at them as clients and operators do: who leads, what is
//! in the trees, what the logs say. `FORMATION_ALL=1` takes every step where usually a few do.

mod cut_off;
mod differing;
mod founding;
mod names;
mod observers;
mod rig;
mod standalone;
#[path = "../support/mod.rs"]
mod support;
mod tree;
mod wiped;

use std::process::ExitCode;

/// Tests at once: each runs a few servers that mostly wait.
const THREADS: usize = 4;

/// Whether every step is wished for.
pub(crate) fn is_thorough() -> bool {
    std::env::var_os("FORMATION_ALL").is_some()
}

fn main() -> ExitCode {
    support::run(
        &[
            ("three_servers_form_an_ensemble_in_any_order", founding::any_order),
            ("two_of_three_found_an_ensemble_and_the_third_joins", founding::two_of_three),
            ("a_server_that_comes_at_the_last_moment_belongs_to_it", founding::last_moment),
            ("an_ensemble_that_is_restarted_as_a_whole_loses_nothing", founding::restarted),
            ("killed_while_it_is_founded_there_is_one_ensemble", founding::killed),
            ("all_killed_while_it_is_founded_there_is_one_ensemble", founding::all_killed),
            ("four_and_five_servers_form_an_ensemble", founding::four_and_five),
            ("a_server_with_another_line_of_its_own_is_left_out", differing::other_line),
            ("a_server_at_another_port_is_left_out", differing::other_quorum_port),
            ("a_server_with_a_shorter_list_is_left_out", differing::shorter_list),
            ("data_of_another_server_is_refused", differing::data_of_another_server),
            ("data_of_another_ensemble_is_refused", differing::data_of_another_ensemble),
            ("a_standalone_server_becomes_the_first_member", standalone::becomes_first),
            ("a_standalone_server_that_comes_too_late_is_refused", standalone::comes_too_late),
            ("a_standalone_server_is_server_1", standalone::is_not_the_first),
            ("observers_start_and_restart_in_any_order", observers::any_order),
            ("observers_never_vote", observers::never_votes),
            ("observers_found_nothing", observers::without_all_voters),
            ("a_server_whose_others_stand_still_closes_in_time", cut_off::stopped_others),
            ("a_server_that_is_cut_off_closes_in_time", cut_off::cut_follower_and_leader),
            ("a_leader_that_stood_still_does_not_show_the_past", cut_off::stopped_leader),
            ("wiped_servers_are_taken_in_one_after_another", wiped::one_after_another),
            ("wiped_servers_are_taken_in_while_leaders_change", wiped::while_leaders_change),
            ("snapshot_transfers_outlive_receivers_and_senders", wiped::snapshot_transfers),
            ("a_full_disk_stops_only_the_server_that_receives", wiped::full_disk),
            ("a_recovered_server_serves_alone", wiped::recovered),
            ("names_that_nobody_knows_at_first", names::unknown_at_first),
            ("own_names_that_nobody_knows_at_first", names::own_name_unknown),
            ("names_that_come_to_mean_another_address", names::moved),
            ("lines_that_change_in_every_configuration", names::other_addresses),
        ],
        THREADS,
    )
}

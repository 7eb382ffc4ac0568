//! Hostile clients, while one that behaves must see nothing of them.
//!
//! Each test starts a server of its own, does one kind of harm to it, and then finds the server
//! alive, its other client served, its memory bounded, and everything given back.

mod arena;
mod bulk;
mod noise;
mod raw;
mod stubborn;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

/// Tests at once: much of their time they wait for sessions to expire.
const THREADS: usize = 3;
/// What a server's memory may grow by while it is only annoyed: buffers of the databases fill.
const ANNOYED_BYTES_MAX: u64 = 128 << 20;

fn main() -> ExitCode {
    support::run(
        &[
            ("random_bytes_end_their_connections", noise::random_bytes),
            ("random_frames_harm_nobody_else", noise::random_frames),
            ("every_opcode_with_any_body_is_answered_or_ends_its_connection", noise::every_opcode),
            ("requests_cut_at_any_byte_harm_nobody", noise::truncated),
            ("impossible_lengths_end_their_connections", noise::impossible_lengths),
            ("half_frames_do_not_hold_connections_for_ever", stubborn::half_frames),
            ("thousands_of_connections_leave_nothing_behind", stubborn::connection_flood),
            ("sessions_that_are_left_alone_leave_nothing_behind", stubborn::session_flood),
            ("a_watcher_that_never_reads_is_closed", stubborn::watcher_that_never_reads),
            ("a_reader_that_never_reads_is_held_back", stubborn::reader_that_never_reads),
            ("a_reader_of_much_at_once_is_bounded", stubborn::much_in_one_reply),
            ("a_client_that_leaves_without_reading_is_closed", stubborn::leaves_without_reading),
            ("much_unread_of_one_kind_or_another_is_no_leak", stubborn::words_that_nobody_reads),
            ("a_hundred_thousand_pings_are_answered", bulk::many_pings),
            ("a_huge_multi_is_all_or_nothing", bulk::huge_multi),
            ("a_path_of_thousands_of_elements_is_a_path", bulk::deep_path),
            ("a_path_of_900_kilobytes_is_a_path", bulk::long_path),
            ("data_up_to_the_limit_is_kept_and_one_byte_more_is_not", bulk::data_at_the_limit),
            ("an_acl_of_thousands_is_an_acl", bulk::huge_acl),
            ("thousands_of_identities_are_bounded", bulk::many_identities),
            ("a_flood_of_large_writes_is_held_back", bulk::large_writes),
        ],
        THREADS,
    )
}

//! What makes a server a member of an ensemble, which one it is, and what is wrong otherwise.

use super::*;
use std::fs;

/// A member's file with more lines.
fn member(home: &TempDir, lines: &str) -> String {
    at_home(home, &format!("{MEMBER}{lines}\n"))
}

/// A member's file without the lines that begin so.
fn member_without(home: &TempDir, start: &str) -> String {
    let kept = MEMBER.lines().filter(|line| !line.starts_with(start));
    at_home(home, &kept.fold(String::new(), |text, line| text + line + "\n"))
}

/// A file with these servers instead.
fn servers(home: &TempDir, lines: &str) -> String {
    format!("{}{lines}\n", member_without(home, "server."))
}

fn ensemble(text: &str) -> EnsembleConfig {
    config(text).ensemble.unwrap_or_else(|| panic!("{text:?} is standalone"))
}

#[test]
fn several_servers_are_an_ensemble_of_which_this_is_the_one_in_myid() {
    let home = home();

    let ensemble = ensemble(&member(&home, ""));

    assert_eq!(ensemble.my_id, 1);
    assert_eq!((ensemble.init_limit_ticks, ensemble.sync_limit_ticks), (10, 5));
    assert!(!ensemble.listen_on_all_addresses && ensemble.standalone_enabled);
    let text = "server.1=a:2888:3888:participant\nserver.2=b:2888:3888:participant\n\
                server.3=c:2888:3888:participant\nversion=0";
    assert_eq!(ensemble.list().to_string(), text);
    assert_eq!(warnings(&member(&home, "")), [""; 0]);
}

#[test]
fn myid_is_the_first_line_of_its_file() {
    let home = home();
    for (text, id) in [("2", 2), ("2\n", 2), ("3\r\nrest", 3), ("+2", 2), (" 02 \n", 2)] {
        fs::write(home.path().join("myid"), text).unwrap();
        assert_eq!(ensemble(&member(&home, "")).my_id, id, "{text:?}");
    }
}

#[test]
fn a_myid_that_names_no_server_is_refused_with_its_path_and_what_to_write() {
    let home = home();
    let remedy = "; write this server's number alone into the file, one of 1, 2, 3";
    let cases = [
        ("two\n", "\"two\" is no number from 0 to 254"),
        ("0x2", "\"0x2\" is no number"),
        ("", "\"\" is no number"),
        ("\n2", "\"\" is no number"),
        ("-1", "\"-1\" is no number"),
        ("255", "\"255\" is no number"),
        ("2 3", "\"2 3\" is no number"),
        ("9", "this server is number 9 and there is no server.9"),
    ];
    for (text, problem) in cases {
        fs::write(home.path().join("myid"), text).unwrap();
        for reconfig in ["", "reconfigEnabled=true"] {
            let told = error(&member(&home, reconfig));
            assert!(told.starts_with(&at_home(&home, &format!("HOME/myid: {problem}"))), "{told}");
            assert!(told.ends_with(remedy), "{told}");
        }
    }
    fs::write(home.path().join("myid"), "9".repeat(100_000)).unwrap();
    assert!(error(&member(&home, "")).len() < 400);
    fs::remove_file(home.path().join("myid")).unwrap();
    let told = error(&member(&home, ""));
    let start = at_home(&home, "HOME/myid: cannot read which server this is: No such file");
    assert!(told.starts_with(&start) && told.ends_with(remedy), "{told}");
}

#[test]
fn an_ensemble_must_have_its_limits() {
    let home = home();
    let cases = [
        ("initLimit", "zoo.cfg: initLimit is not set; write initLimit=10"),
        ("syncLimit", "zoo.cfg: syncLimit is not set; write syncLimit=5"),
        ("clientPort", "zoo.cfg: clientPort is not set; write clientPort=2181"),
    ];
    for (key, start) in cases {
        let told = error(&member_without(&home, key));
        assert!(told.starts_with(start), "{told}");
    }
}

#[test]
fn clients_come_to_the_address_of_the_own_line() {
    let home = home();
    fs::write(home.path().join("myid"), "2").unwrap();
    let lines = "server.1=a:1:2;2181\nserver.2=b:1:2;h:2182\nserver.3=c:1:2;2183";
    let without_port = servers(&home, lines).replace("clientPort=2181\n", "");

    let config = config(&without_port);
    assert_eq!((config.client_address.as_deref(), config.client_port), (Some("h"), 2_182));

    let told = error(&servers(&home, lines));
    assert!(told.contains("server.2 and clientPort name different client addresses"), "{told}");
    let own = ensemble(&servers(&home, "server.1=a:1:2;2181\nserver.2=b:1:2\nserver.3=c:1:2;2181"));
    assert_eq!(own.servers[&2].client, None, "a fixed port does not become part of the line");
}

#[test]
fn a_server_alone_is_standalone_unless_it_shall_be_an_ensemble() {
    let home = home();
    fs::remove_file(home.path().join("myid")).unwrap();
    assert_eq!(config(&servers(&home, "server.1=a:1:2")).ensemble, None, "and needs no myid");
    assert_eq!(config(&servers(&home, "")).ensemble, None);

    fs::write(home.path().join("myid"), "1").unwrap();
    let alone = servers(&home, "standaloneEnabled=false\nserver.1=a:1:2");
    let list = "server.1=a:1:2:participant\nversion=0";
    assert_eq!(ensemble(&alone).list().to_string(), list);
    assert!(!ensemble(&alone).standalone_enabled);
    let observed = format!("{alone}server.2=b:1:2:observer\n");
    assert_eq!(ensemble(&observed).servers.len(), 2);
}

#[test]
fn servers_that_are_no_ensemble_are_refused() {
    let home = home();
    let observers = "server.1=a:1:2:observer\nserver.2=b:1:2:observer";
    let cases = [
        (
            "server.1=a:1:2:observer",
            "zoo.cfg:5: no ensemble is made of 0 that vote and 1 that observe; an observer has nobody",
        ),
        (
            observers,
            "zoo.cfg:5: no ensemble is made of 0 that vote and 2 that observe; an observer",
        ),
        (
            "server.1=a:1:2\nserver.2=b:1:2:observer",
            "zoo.cfg:5: no ensemble is made of 1 that vote and 1 that observe; list more",
        ),
        (
            "standaloneEnabled=false",
            "zoo.cfg:5: no ensemble is made of 0 that vote and 0 that observe; list this server as",
        ),
    ];
    for (lines, start) in cases {
        let told = error(&servers(&home, lines));
        assert!(told.starts_with(start), "{told}");
    }
    error(&servers(&home, &format!("standaloneEnabled=false\n{observers}")));
}

#[test]
fn numbers_of_servers_that_outlive_no_more_failures_are_told() {
    let home = home();
    let none = "the ensemble stops with the first server that fails; it takes three that vote to \
                outlive one";
    let even = "an even number of servers that vote outlives no more failures than one server less";
    let line = |id: u64| format!("server.{id}=h{id}:1:2\n");
    for (count, told) in [(2, none), (3, ""), (4, even), (5, ""), (6, even), (7, "")] {
        let lines: String = (1..=count).map(line).collect();
        let observer = "server.9=h9:1:2:observer";
        let warnings = warnings(&servers(&home, &format!("{lines}{observer}")));
        let expected = format!("Warn zoo.cfg:{}: {told}", 4 + count);
        let expected: Vec<String> = if told.is_empty() { Vec::new() } else { vec![expected] };
        assert_eq!(warnings, expected, "{count}");
    }
    let alone = warnings(&servers(&home, "standaloneEnabled=false\nserver.1=a:1:2"));
    assert_eq!(alone, [format!("Warn zoo.cfg:6: {none}")]);
}

#[test]
fn two_servers_at_one_address_are_told() {
    let home = home();
    let lines = "server.1=[::1]:1:2\nserver.2=[0:0::1]:1:3\nserver.3=c:1:2";

    let told = warnings(&servers(&home, lines));

    let text = "server.2 has [0:0:0:0:0:0:0:1]:1, as server.1 has: only one of them can be reached";
    assert_eq!(told, [format!("Warn zoo.cfg:6: {text}")]);
}

#[test]
fn a_peer_type_that_is_another_role_than_the_own_one_is_told() {
    let home = home();
    let loud = |text: &str| {
        let told = warnings(text);
        told.into_iter().filter(|text| text.starts_with("Warn")).collect::<Vec<_>>()
    };
    let told = loud(&member(&home, "peerType=observer"));
    let text = "peerType is observer, and server.1 votes: the line counts";
    assert_eq!(told, [format!("Warn zoo.cfg:8: {text}")]);
    assert_eq!(loud(&member(&home, "peerType=participant")), [""; 0]);
    let told = loud(&format!("{BASE}peerType=observer\n"));
    assert_eq!(told, ["Warn zoo.cfg:3: peerType is observer, and a single server always votes"]);
}

#[test]
fn servers_come_from_the_dynamic_file_with_the_version_in_its_name() {
    let home = home();
    let lines =
        "server.2=b:1:2:observer;2182\nserver.1=a:1:2;2181\nserver.3=c:1:2\nserver.1=a:3:4\n";
    let names =
        [("zoo.cfg.dynamic.1F", 0x1f), ("members", 0), ("members.x", 0), ("m.cafe", 0xcafe)];
    for (name, version) in names {
        fs::write(home.path().join(name), lines).unwrap();
        let read =
            ensemble(&servers(&home, &at_home(&home, &format!("dynamicConfigFile=HOME/{name}"))));
        let text = format!(
            "server.1=a:3:4:participant\nserver.2=b:1:2:observer;0.0.0.0:2182\n\
             server.3=c:1:2:participant\nversion={version:x}"
        );
        assert_eq!(read.list().to_string(), text);
    }
    fs::write(home.path().join("alone.7"), "server.1=a:1:2;2181").unwrap();
    let alone = at_home(&home, "dataDir=HOME\ndynamicConfigFile=HOME/alone.7\n");
    assert_eq!((config(&alone).ensemble, config(&alone).client_port), (None, 2_181));
}

#[test]
fn a_dynamic_file_that_is_wrong_is_refused_with_its_own_line() {
    let home = home();
    let cases = [
        ("server.1=a:1:2\nserver.2=b:1\n", "HOME/d.1:2: server.2=b:1 has no election port; write"),
        ("version=1\n", "HOME/d.1:1: version has no place in a dynamicConfigFile; the version is"),
        ("\ntickTime=1\n", "HOME/d.1:2: tickTime has no place in a dynamicConfigFile; it may have"),
        ("server.1=\\u12\n", "HOME/d.1:1: \\u is not followed by four hexadecimal digits"),
        ("server.1=a:1:2:observer\n", "HOME/d.1:1: no ensemble is made of 0 that vote and 1"),
        (
            "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\ngroup.1=1:2:3\n",
            "HOME/d.1:4: group.1=1:2:3 is refused: a quorum is a majority of the servers",
        ),
    ];
    let pointer = at_home(&home, "dynamicConfigFile=HOME/d.1");
    for (text, start) in cases {
        fs::write(home.path().join("d.1"), text).unwrap();
        let told = error(&servers(&home, &pointer));
        assert!(told.starts_with(&at_home(&home, start)), "{told}");
    }
    fs::write(home.path().join("d.1"), "server.1=a:1:2\n").unwrap();
    let told = error(&servers(&home, &format!("{pointer}\nserver.1=a:1:2")));
    let start = "zoo.cfg:6: server.1 and dynamicConfigFile both list servers; move the line";
    assert!(told.starts_with(start), "{told}");
    fs::remove_file(home.path().join("d.1")).unwrap();
    let told = error(&servers(&home, &pointer));
    assert!(
        told.starts_with(&at_home(&home, "HOME/d.1: cannot read the configuration: No")),
        "{told}"
    );
}

#[test]
fn a_member_may_become_read_only_and_says_nothing_about_it() {
    let home = home();
    let text = member(&home, "readonlymode.enabled=true");

    assert!(config(&text).read_only_mode);
    assert_eq!(warnings(&text), [""; 0]);
}

//! What a configuration means, row by row of the table and for whole files.

mod ensemble;

use super::keys::{KEYS, Key, MANUAL_NAMES, SINGLE, Spelling, Verdict, find};
use super::*;
use tempfile::TempDir;

/// A file that starts, to which a test adds its lines.
const BASE: &str = "dataDir=/data\nclientPort=2181\n";

/// A member of an ensemble that starts, to which a test adds its lines. `HOME` stands for the directory
/// of [`home`].
const MEMBER: &str = "\
dataDir=HOME
clientPort=2181
initLimit=10
syncLimit=5
server.1=a:2888:3888
server.2=b:2888:3888
server.3=c:2888:3888
";

/// For each key that is neither number nor switch: a value that changes something, and one that is
/// malformed if there is any.
const TEXT_SAMPLES: &[(&str, &str, Option<&str>)] = &[
    ("dataDir", "/elsewhere", Some("")),
    ("dataLogDir", "/log", Some("")),
    ("clientPortAddress", "10.0.0.1", Some("")),
    ("server.*", "h:1:2;10.0.0.2:2181", Some("h:1")),
    ("dynamicConfigFile", "HOME/members.1f", Some("")),
    ("4lw.commands.whitelist", "mntr, ruok", Some("mntr ruok")),
    ("DigestAuthenticationProvider.superDigest", "super:hash=", Some("secret")),
    ("DigestAuthenticationProvider.digestAlg", "SHA3-256", Some("SHA2")),
    ("enforce.auth.schemes", "ip", None),
    ("peerType", "observer", Some("voter")),
    ("autopurge.purgeInterval", "30m", Some("soon")),
    ("metricsProvider.httpHost", "10.0.0.3", Some("")),
    ("admin.serverAddress", "10.0.0.4", Some("")),
    ("admin.commandURL", "/zk", Some("zk")),
];

/// Lines without which a key changes nothing.
fn companions(key: &str) -> &'static str {
    match key {
        "enforce.auth.schemes" => "enforce.auth.enabled=true\n",
        "enforce.auth.enabled" => "enforce.auth.schemes=digest\n",
        "minSessionTimeout" => "maxSessionTimeout=2147483647\n",
        "maxSessionTimeout" => "minSessionTimeout=0\n",
        _ => "",
    }
}

fn read(text: &str) -> Result<(Config, Vec<Warning>), ConfigError> {
    Config::from_zoo_cfg(text, &[], "zoo.cfg")
}

fn read_with(
    text: &str,
    overrides: &[(&str, &str)],
) -> Result<(Config, Vec<Warning>), ConfigError> {
    let overrides: Vec<(String, String)> =
        overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::from_zoo_cfg(text, &overrides, "zoo.cfg")
}

fn config(text: &str) -> Config {
    match read(text) {
        Ok((config, _)) => config,
        Err(error) => panic!("{text:?} is refused: {error}"),
    }
}

fn error(text: &str) -> String {
    match read(text) {
        Ok(_) => panic!("{text:?} is accepted"),
        Err(error) => {
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(!text.contains('\n'), "an error is one line: {text}");
            text
        }
    }
}

fn warnings(text: &str) -> Vec<String> {
    let (_, warnings) = read(text).unwrap_or_else(|error| panic!("{text:?} is refused: {error}"));
    warnings.into_iter().map(|warning| format!("{:?} {warning}", warning.level)).collect()
}

/// A directory with a `myid` and a file of servers.
fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("myid"), "1\n").unwrap();
    let servers: Vec<&str> = MEMBER.lines().filter(|line| line.starts_with("server.")).collect();
    std::fs::write(home.path().join("members.1f"), servers.join("\n")).unwrap();
    home
}

/// The text with the directory's path in it.
fn at_home(home: &TempDir, text: &str) -> String {
    text.replace("HOME", &home.path().display().to_string())
}

/// The name under which a row is written; a family gets a member.
fn written(key: &Key) -> String {
    key.name.replace('*', "1")
}

/// Values of this form: well-formed ones that differ from the default, then malformed ones.
fn samples(key: &Key, home: &TempDir) -> (Vec<String>, Vec<String>) {
    use super::form::Form;
    let text = |values: &[&str]| values.iter().map(|value| at_home(home, value)).collect();
    match &key.form {
        Form::Int { min, max, .. } => {
            let mut good = vec![min.to_string(), max.to_string()];
            good.retain(|value| value != key.default);
            let below = i128::from(*min) - 1;
            let above = i128::from(*max) + 1;
            (good, vec![below.to_string(), above.to_string(), "x".to_owned(), String::new()])
        }
        Form::Real { min, max, .. } => {
            (text(&["0.5"]), vec![(min - 0.5).to_string(), (max + 0.5).to_string(), "x".to_owned()])
        }
        Form::Flag(_) => {
            let other = if key.default == "true" { "False" } else { "True" };
            let strict = key.spelling == Spelling::File;
            (text(&[other]), if strict { text(&["yes", ""]) } else { Vec::new() })
        }
        Form::Word { word, .. } => (text(&[word]), Vec::new()),
        Form::Class(..) => (text(&["com.example.Mine"]), Vec::new()),
        Form::Text(_) => {
            let sample = TEXT_SAMPLES.iter().find(|(name, ..)| *name == key.name);
            let (_, good, bad) = sample.copied().unwrap_or((key.name, "anything", None));
            (text(&[good]), bad.into_iter().map(str::to_owned).collect())
        }
    }
}

/// The base file without the lines that `key` itself writes.
fn base_for(key: &Key, home: &TempDir) -> String {
    let base = match key.name {
        "initLimit" | "syncLimit" | "quorumListenOnAllIPs" | "standaloneEnabled" => {
            MEMBER.to_owned()
        }
        "peerType" => {
            MEMBER.replace("a:2888:3888", "a:2888:3888:observer") + "server.4=d:2888:3888"
        }
        "dynamicConfigFile" => MEMBER.split_inclusive('\n').take(4).collect(),
        _ => BASE.to_owned(),
    };
    let base = at_home(home, &base);
    let kept = base.lines().filter(|line| !line.starts_with(&format!("{}=", key.name)));
    kept.chain(companions(key.name).lines()).fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn a_key_stands_in_the_table_once_and_is_found_there() {
    let mut seen = BTreeSet::new();
    for key in KEYS {
        assert!(seen.insert(key.name), "{} has two rows", key.name);
        let found = find(&written(key)).map(|found| found.name);
        assert_eq!(found, Some(key.name));
        assert!(key.meaning.ends_with('.'), "{} has no sentence", key.name);
    }
    for (_, key) in MANUAL_NAMES {
        assert_eq!(find(key).map(|found| found.name), Some(*key));
    }
    for (name, ..) in TEXT_SAMPLES {
        assert!(KEYS.iter().any(|key| key.name == *name), "{name} has a sample and no row");
    }
}

#[test]
fn an_honoured_key_changes_the_configuration() {
    let home = home();
    for key in KEYS.iter().filter(|key| key.verdict == Verdict::Honoured) {
        let base = base_for(key, &home);
        let name = written(key);
        let mut changed = false;
        for value in samples(key, &home).0 {
            let text = format!("{base}{name}={value}\n");
            let (config, warnings) =
                read(&text).unwrap_or_else(|error| panic!("{name}={value} is refused: {error}"));
            let without = read(&base).map(|(config, _)| config);
            let same = without
                .as_ref()
                .is_ok_and(|without| *without == Config { text: base.clone(), ..config.clone() });
            changed |= !same;
            let loud = warnings.iter().find(|warning| warning.level == Level::Warn);
            assert_eq!(loud, None, "{name}={value}");
        }
        assert!(changed, "{name} is honoured and changes nothing");
    }
}

#[test]
fn a_default_is_the_same_as_leaving_the_key_out() {
    let home = home();
    for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
        let base = base_for(key, &home);
        let text = format!("{base}{}={}\n", written(key), key.default);
        let (config, warnings) =
            read(&text).unwrap_or_else(|error| panic!("{} default: {error}", key.name));
        let plain = self::config(&base);
        assert_eq!(Config { text: base, ..config }, plain, "{}", key.name);
        assert_eq!(warnings, [], "{}", key.name);
    }
}

#[test]
fn a_key_without_effect_is_told_at_its_level_with_its_reason() {
    let home = home();
    for key in KEYS {
        let (level, reason) = match key.verdict {
            Verdict::AcceptedWithoutEffect(level, reason) => (level, reason),
            Verdict::RefusedInEnsemble(_) => (Level::Info, SINGLE),
            Verdict::Honoured | Verdict::Refused(_) => continue,
        };
        let base = base_for(key, &home);
        let line = base.lines().count() + 1;
        for value in samples(key, &home).0 {
            let name = written(key);
            let (_, warnings) = read(&format!("{base}{name}={value}\n"))
                .unwrap_or_else(|error| panic!("{name}={value} is refused: {error}"));
            let text = format!("zoo.cfg:{line}: {name} has no effect: {reason}");
            assert_eq!(warnings, [Warning { level, text }], "{name}={value}");
        }
    }
}

#[test]
fn a_refused_key_stops_the_start_with_its_reason_and_line() {
    let home = home();
    for key in KEYS {
        let (base, reason) = match key.verdict {
            Verdict::Refused(reason) => (BASE.to_owned(), reason),
            Verdict::RefusedInEnsemble(reason) => (at_home(&home, MEMBER), reason),
            Verdict::Honoured | Verdict::AcceptedWithoutEffect(..) => continue,
        };
        let line = base.lines().count() + 1;
        for value in samples(key, &home).0 {
            let name = written(key);
            let text = error(&format!("{base}{name}={value}\n"));
            let expected =
                format!("zoo.cfg:{line}: {name}={value} is refused: {reason}; remove it");
            assert!(text.starts_with(&expected), "{text}");
        }
    }
}

#[test]
fn a_malformed_value_names_key_value_line_limit_and_remedy() {
    let home = home();
    let mut tried = 0;
    for key in KEYS {
        if matches!(key.verdict, Verdict::Refused(_)) {
            continue; // It is refused whatever its value.
        }
        for value in samples(key, &home).1 {
            let name = written(key);
            let base = base_for(key, &home);
            let line = base.lines().count() + 1;
            let text = error(&format!("{base}{name}={value}\n"));
            let shown = if key.is_secret() { "***" } else { &value };
            assert!(text.starts_with(&format!("zoo.cfg:{line}: {name}={shown} ")), "{text}");
            assert!(text.contains("; write "), "{text}");
            let default = format!("or remove it for the default {}", key.default);
            assert!(key.default.is_empty() || text.ends_with(&default), "{text}");
            tried += 1;
        }
    }
    assert!(KEYS.len() < tried, "only {tried} malformed values were tried");
}

#[test]
fn a_property_is_set_by_the_command_line_as_zookeeper_spells_it() {
    let home = home();
    for key in KEYS.iter().filter(|key| key.verdict == Verdict::Honoured) {
        let name = match key.spelling {
            Spelling::File | Spelling::BareProperty => written(key),
            Spelling::Property => format!("zookeeper.{}", written(key)),
        };
        let base = base_for(key, &home);
        for value in samples(key, &home).0 {
            let by_file = config(&format!("{base}{}={value}\n", written(key)));
            let (by_property, _) = read_with(&base, &[(&name, &value)])
                .unwrap_or_else(|error| panic!("-D{name}={value} is refused: {error}"));
            assert_eq!(Config { text: by_file.text.clone(), ..by_property }, by_file, "{name}");
        }
    }
}

#[test]
fn the_file_replaces_a_prefixed_property_and_nothing_else() {
    let cases = [
        ("snapCount=5\n", "zookeeper.snapCount", "7", "snapCount in the file replaces"),
        ("jute.maxbuffer=5000\n", "jute.maxbuffer", "7000", ""),
        ("tickTime=500\n", "tickTime", "700", ""),
    ];
    for (line, name, value, told) in cases {
        let (config, warnings) =
            read_with(&format!("{BASE}{line}"), &[(name, "6000"), (name, value)]).unwrap();
        let got = match name {
            "zookeeper.snapCount" => config.snap_count == 5,
            "jute.maxbuffer" => config.jute_maxbuffer == 7_000,
            _ => config.tick_time_ms == 700,
        };
        assert!(got, "{name}");
        assert_eq!(told.is_empty(), warnings.is_empty(), "{name}");
        assert!(warnings.iter().all(|warning| warning.text.contains(told)), "{warnings:?}");
    }
}

#[test]
fn a_property_that_sets_nothing_is_told_as_loudly_as_it_matters() {
    let cases = [
        ("java.net.preferIPv4Stack", "true", Level::Debug, "is unknown and ignored"),
        ("zookeeper.nosuch", "1", Level::Warn, "is unknown and ignored"),
        ("jute.maxbufer", "1", Level::Warn, "did you mean jute.maxbuffer?"),
        ("zookeeper.snapcount", "1", Level::Warn, "did you mean zookeeper.snapCount?"),
        ("skipACL", "yes", Level::Warn, "the property is zookeeper.skipACL"),
        ("zookeeper.tickTime", "1", Level::Warn, "as ZooKeeper ignores it; write tickTime"),
    ];
    let plain = config(BASE);
    for (name, value, level, part) in cases {
        let (config, warnings) = read_with(BASE, &[(name, value)]).unwrap();
        assert_eq!(config, plain, "{name}");
        assert_eq!(warnings.len(), 1, "{name}: {warnings:?}");
        assert_eq!(warnings[0].level, level, "{name}");
        assert!(warnings[0].text.contains(part), "{}", warnings[0]);
    }
}

#[test]
fn an_unknown_key_is_named_with_what_it_may_have_meant() {
    let cases = [
        ("ticktime", Some("tickTime")),
        ("maxClientConns", Some("maxClientCnxns")),
        ("zookeeper.snapCount", Some("snapCount")),
        ("requestThrottleLimit", Some("request_throttle_max_requests")),
        ("connectionMaxTokens", Some("connection_throttle_tokens")),
        ("autopurge.purgeIntervall", Some("autopurge.purgeInterval")),
        ("kafka.broker.id", None),
        ("x", None),
    ];
    for (name, meant) in cases {
        let expected = match meant {
            Some(key) => {
                format!("Warn zoo.cfg:3: {name} is unknown and ignored; did you mean {key}?")
            }
            None => format!("Warn zoo.cfg:3: {name} is unknown and ignored"),
        };
        assert_eq!(warnings(&format!("{BASE}{name}=1\n")), [expected]);
    }
}

#[test]
fn a_long_or_unprintable_value_is_shown_short_and_on_one_line() {
    let text = error(&format!("{BASE}tickTime=1\\n2{}\n", "9".repeat(100_000)));

    assert!(text.contains("tickTime=1\\n2999"), "{text}");
    assert!(text.len() < 400, "{} bytes", text.len());
}

#[test]
fn a_secret_is_never_shown() {
    let key = "DigestAuthenticationProvider.superDigest";
    assert!(!error(&format!("{BASE}{key}=hunter2\n")).contains("hunter2"));
    for name in ["ssl.keyStore.password", "SASLAuthenticationProvider.superPassword"] {
        let told = warnings(&format!("{BASE}{name}=hunter2\n"));
        assert!(told.len() == 1 && !told[0].contains("hunter2"), "{told:?}");
    }
}

#[test]
fn the_last_line_of_a_key_counts_and_the_earlier_is_told() {
    let text = format!("{BASE}tickTime=500\ntickTime=700\n");

    assert_eq!(config(&text).tick_time_ms, 700);
    let told = "Warn zoo.cfg:3: tickTime is set again further down; the last line counts";
    assert_eq!(warnings(&text), [told]);
}

#[test]
fn a_switch_that_is_a_property_is_read_leniently_and_told() {
    let cases = [
        ("enforceQuota=yes", "enforceQuota=yes is read as false"),
        ("skipACL=true", "skipACL=true is read as no"),
        ("skipACL=YES", "skipACL=YES is read as no"),
    ];
    for (line, part) in cases {
        let text = format!("{BASE}{line}\n");
        let config = config(&text);
        assert!(!config.skip_acl && !config.enforce_quota, "{line}");
        let told = warnings(&text);
        assert!(told.len() == 1 && told[0].contains(part), "{told:?}");
    }
}

#[test]
fn a_number_in_a_property_may_be_hexadecimal_and_never_octal() {
    assert_eq!(config(&format!("{BASE}jute.maxbuffer=0x9fffff\n")).jute_maxbuffer, 0x9f_ffff);
    assert_eq!(config(&format!("{BASE}tickTime=+0500\n")).tick_time_ms, 500);
    for line in ["jute.maxbuffer=04000", "tickTime=0x500", "tickTime=1_000", "tickTime=--5"] {
        assert!(error(&format!("{BASE}{line}\n")).contains("is not a whole number"), "{line}");
    }
}

#[test]
fn session_timeouts_follow_the_tick_unless_they_are_set() {
    let cases = [
        ("", 6_000, 60_000),
        ("tickTime=500\n", 1_000, 10_000),
        ("minSessionTimeout=7000\n", 7_000, 60_000),
        ("maxSessionTimeout=600000\ntickTime=500\n", 1_000, 600_000),
        ("minSessionTimeout=-1\nmaxSessionTimeout=-1\n", 6_000, 60_000),
    ];
    for (lines, min, max) in cases {
        let config = config(&format!("{BASE}{lines}"));
        assert_eq!((config.min_session_timeout_ms, config.max_session_timeout_ms), (min, max));
    }
    for lines in ["maxSessionTimeout=5999\n", "minSessionTimeout=60001\n"] {
        let text = error(&format!("{BASE}{lines}"));
        assert!(text.starts_with("zoo.cfg:3: minSessionTimeout is "), "{text}");
    }
}

#[test]
fn the_client_address_comes_from_its_keys_or_from_the_only_server() {
    let any = |port| (None, port);
    let at = |host: &str, port| (Some(host.to_owned()), port);
    let cases = [
        ("clientPort=2181", any(2_181)),
        ("clientPort=0", any(0)),
        ("clientPort=2181\nclientPortAddress=::1", at("::1", 2_181)),
        ("clientPort=2181\nclientPortAddress=[::1]", at("::1", 2_181)),
        ("server.1=localhost:2888:3888;2181", any(2_181)),
        ("server.1 localhost:2888:3888:PARTICIPANT;0.0.0.0:2181", at("0.0.0.0", 2_181)),
        ("server.7=[::1]:2888:3888;[::1]:2181", at("::1", 2_181)),
        ("server.1=a:2888:3888|b:2889:3889;2181", any(2_181)),
        ("server.1=h:2888:3888\nclientPort=2181", any(2_181)),
        ("server.1=h:2888:3888;2181\nclientPort=2181", any(2_181)),
        ("server.1=h:2888:3888;h:2181\nclientPort=2181", at("h", 2_181)),
        ("server.1=h:2888:3888;h:2181\nclientPort=2181\nclientPortAddress=H", at("H", 2_181)),
        ("server.1=h:1:2;h:2181\nclientPort=2181\nclientPortAddress=0.0.0.0", at("h", 2_181)),
    ];
    for (lines, expected) in cases {
        let config = config(&format!("dataDir=/data\n{lines}\n"));
        assert_eq!((config.client_address, config.client_port), expected, "{lines}");
    }
}

#[test]
fn a_server_line_that_is_wrong_is_refused() {
    let cases = [
        ("server.1=h:1:2;2181;2281", "has a part for clients with TLS: TLS comes with a later"),
        ("server.1=h:1:2;;2281", "has a part for clients with TLS"),
        ("server.1=h:2888", "has no election port"),
        ("server.1=h", "has no ports"),
        ("server.1=:1:2", "has no host"),
        ("server.1=[::1:1:2", "bracket"),
        ("server.1=h:1:1", "uses port 1 for both"),
        ("server.1=h:0:1", "quorum port"),
        ("server.1=h:1:70000", "election port"),
        ("server.1=h:1:2:voter", "unknown role \"voter\""),
        ("server.1=h:1:2:", "unknown role \"\""),
        ("server.1=h:1:2:observer:x", "too many colons"),
        ("server.1=h:1:2:participant|i:1:2:observer", "different roles"),
        ("server.1=h:1:2|", "has no ports"),
        ("server.1=h:1:2;:5", "has no host before the client port"),
        ("server.1=h:1:2;x", "client port"),
        ("server.1=h:1:2;1;;3", "more than three parts"),
        (
            "server.x=h:1:2",
            "zoo.cfg:3: server.x=h:1:2 has no number from 0 to 254 after server.; write",
        ),
        ("server.255=h:1:2", "has no number from 0 to 254 after server."),
        ("server.-1=h:1:2", "has no number from 0 to 254 after server."),
        (
            "server.1=h:1:2\nserver.01=i:1:2",
            "zoo.cfg:4: server.01=i:1:2 is the same server as server.1",
        ),
        (
            "server.1=h:1:2;2182",
            "zoo.cfg:3: server.1 and clientPort name different client addresses",
        ),
        ("clientPortAddress=a\nserver.1=h:1:2;b:2181", "name different client addresses"),
        ("clientPortAddress=a\nserver.1=h:1:2;2181", "name different client addresses"),
    ];
    for (lines, part) in cases {
        let text = error(&format!("{BASE}{lines}\n"));
        assert!(text.contains(part), "{lines} gave {text}");
    }
}

#[test]
fn a_port_of_the_command_line_wins_over_the_server_line() {
    for lines in ["server.1=h:1:2;h:2181\n", "server.1=h:1:2;h:2181\nclientPort=2181\n"] {
        let overrides = [("clientPort", "0"), ("dataDir", "/data")];

        let (config, _) = read_with(lines, &overrides).unwrap();

        assert_eq!((config.client_address.as_deref(), config.client_port), (Some("h"), 0));
    }
}

#[test]
fn what_has_no_default_must_be_set() {
    let cases = [
        ("clientPort=2181\n", "zoo.cfg: dataDir is not set; write dataDir="),
        ("dataDir=/data\n", "zoo.cfg: clientPort is not set; write clientPort=2181"),
        ("dataDir=/data\nclientPortAddress=h\n", "zoo.cfg:2: clientPortAddress is set and"),
        ("dataDir=/data\nserver.1=h:1:2\n", "zoo.cfg: clientPort is not set"),
        ("", "zoo.cfg: dataDir is not set"),
    ];
    for (text, start) in cases {
        let error = error(text);
        assert!(error.starts_with(start), "{text:?} gave {error}");
    }
}

#[test]
fn enforced_schemes_must_be_ones_this_server_has() {
    let schemes = |lines: &str| config(&format!("{BASE}{lines}\n")).enforce_auth_schemes;
    let both = [AuthScheme::Digest, AuthScheme::Ip];
    assert_eq!(schemes("enforce.auth.enabled=true\nenforce.auth.schemes=digest, ip"), both);
    assert_eq!(schemes("enforce.auth.schemes=sasl"), [], "not enabled, nothing is asked");
    let cases = [
        ("enforce.auth.enabled=true", "enforce.auth.schemes names none"),
        ("enforce.auth.enabled=true\nenforce.auth.schemes=digest,sasl", "names sasl"),
        ("enforce.auth.enabled=true\nenforce.auth.schemes=x509", "names x509"),
        (
            "enforce.auth.enabled=true\nenforce.auth.schemes=digest\n\
             DigestAuthenticationProvider.enabled=false",
            "names digest",
        ),
    ];
    for (lines, part) in cases {
        let text = error(&format!("{BASE}{lines}\n"));
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn the_whitelist_always_has_srvr_and_has_isro_in_read_only_mode() {
    let cases: [(&str, &[&str], &[&str]); 5] = [
        ("", &["srvr"], &["ruok", "isro", "*"]),
        ("4lw.commands.whitelist=\n", &["srvr"], &["ruok"]),
        ("4lw.commands.whitelist= mntr , ruok,\n", &["srvr", "mntr", "ruok"], &["stat", ""]),
        ("4lw.commands.whitelist=stat,*\n", &["srvr", "wchp", "isro"], &[]),
        ("readonlymode.enabled=true\n", &["srvr", "isro"], &["ruok"]),
    ];
    for (lines, allowed, denied) in cases {
        let whitelist = config(&format!("{BASE}{lines}")).four_letter_whitelist;
        for word in allowed {
            assert!(whitelist.allows(word), "{lines:?} denies {word}");
        }
        for word in denied {
            assert!(!whitelist.allows(word), "{lines:?} allows {word}");
        }
    }
}

#[test]
fn text_that_looks_like_utf8_is_told() {
    let bytes = "clientPort=2181\ndataDir=/d\u{e4}t\n".as_bytes();

    let (config, warnings) = read(&zoo_cfg::decode(bytes)).unwrap();

    assert_eq!(config.data_dir, Path::new("/d\u{c3}\u{a4}t"), "ISO-8859-1, as ZooKeeper reads it");
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].text.starts_with("zoo.cfg:2: dataDir: "), "{}", warnings[0]);
    assert_eq!(super::tests::warnings("dataDir=/d\u{e4}t\nclientPort=1\n"), [""; 0]);
}

#[test]
fn a_bad_escape_names_its_line() {
    let text = error(&format!("{BASE}dataLogDir=C:\\users\n"));

    assert!(text.starts_with("zoo.cfg:3: \\u is not followed by"), "{text}");
}

#[test]
fn the_embedded_default_is_its_own_text() {
    let (config, warnings) = Config::embedded(&[]).unwrap();

    assert_eq!(config, Config::embedded_default());
    assert_eq!(warnings, []);
    assert_eq!((config.client_port, config.tick_time_ms), (2_181, 2_000));
    assert!(!config.admin.enabled && !config.metrics.enabled);
}

#[test]
fn a_file_is_read_up_to_its_limit() {
    let dir = std::env::temp_dir().join(format!("rookeeper-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("zoo.cfg");
    let filled = |bytes: usize| format!("{BASE}#{}", "x".repeat(bytes - BASE.len() - 1));
    let limit = usize::try_from(limits::ZOO_CFG_BYTES_MAX).unwrap();

    std::fs::write(&path, filled(limit)).unwrap();
    let fits = Config::from_file(&path, &[]).map(|(config, _)| config.client_port);
    std::fs::write(&path, filled(limit + 1)).unwrap();
    let too_large = Config::from_file(&path, &[]);
    let directory = Config::from_file(&dir, &[]);
    std::fs::remove_dir_all(&dir).unwrap();

    assert_eq!(fits, Ok(2_181));
    assert!(too_large.unwrap_err().to_string().contains("larger than 1048576 bytes"));
    assert!(matches!(directory, Err(ConfigError::Unreadable { .. })));
}

/// ZooKeeper's own sample, with its comments.
const SAMPLE: &str = "\
# The number of milliseconds of each tick
tickTime=2000
initLimit=10
syncLimit=5
dataDir=/tmp/zookeeper
clientPort=2181
#maxClientCnxns=60
#autopurge.snapRetainCount=3
## Metrics Providers
#metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider
";

/// What the entry point of the official container image writes.
const CONTAINER: &str = "\
dataDir=/data
dataLogDir=/datalog
tickTime=2000
initLimit=5
syncLimit=2
autopurge.snapRetainCount=3
autopurge.purgeInterval=0
maxClientCnxns=60
standaloneEnabled=true
admin.enableServer=true
server.1=localhost:2888:3888;2181
4lw.commands.whitelist=srvr, mntr
";

/// A standalone server as a test bench writes it.
const BENCH: &str = "\
tickTime=2000
dataDir=/path/to/datadir
clientPort=21870
clientPortAddress=127.0.0.1
4lw.commands.whitelist=*
admin.enableServer=false
extendedTypesEnabled=true
maxSessionTimeout=600000
";

#[test]
fn files_as_people_have_them_start_without_a_loud_word() {
    let sample = config(SAMPLE);
    assert_eq!(sample.data_dir, Path::new("/tmp/zookeeper"));
    assert_eq!(sample.data_log_dir, Path::new("/tmp/zookeeper"));
    assert_eq!((sample.client_port, sample.max_session_timeout_ms), (2_181, 40_000));

    let container = config(CONTAINER);
    assert_eq!(container.data_log_dir, Path::new("/datalog"));
    assert_eq!((container.client_address, container.client_port), (None, 2_181));
    assert!(container.four_letter_whitelist.allows("mntr"));

    let bench = config(BENCH);
    assert_eq!(bench.client_address.as_deref(), Some("127.0.0.1"));
    assert!(bench.extended_types_enabled);
    assert_eq!(bench.text, BENCH);

    for (text, loud) in [(SAMPLE, 0), (CONTAINER, 1), (BENCH, 0)] {
        let told = warnings(text);
        let loud_ones: Vec<_> = told.iter().filter(|text| text.starts_with("Warn")).collect();
        assert_eq!(loud_ones.len(), loud, "{loud_ones:?}"); // The AdminServer is not served yet.
    }
}

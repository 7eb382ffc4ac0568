//! The command line, the start, the end, and what is said when a start fails.
//!
//! A start that fails ends with a code that is not 0 and one line that names what is wrong, its
//! value and what to do. Nothing else is written but the log.

mod support;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use compat_tests::control::now;
use jute::OpCode;

use support::client::{Client, Nothing};
use support::process::{
    self, Ended, PAUSE, Rookeeper, START_TIMEOUT, announced_port, program, signal,
};

/// Tests at once.
const THREADS: usize = 2;
/// The code for arguments and configuration.
const USAGE: i32 = 2;
/// The code for everything else.
const FAILURE: i32 = 1;
/// How long a server that is told to end may take, on a machine that has much else to do.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Milliseconds of sessions that outlive a test.
const TIMEOUT_MS: i32 = 30_000;

fn main() -> ExitCode {
    support::run(
        &[
            ("a_port_that_is_taken_is_named", port_taken),
            ("a_file_in_place_of_the_data_directory_is_named", file_in_place_of_directory),
            ("a_directory_that_must_exist_is_named", directory_must_exist),
            ("a_data_directory_serves_one_server", data_in_use),
            ("a_log_directory_serves_one_server", log_in_use),
            ("data_of_a_newer_version_is_left_alone", newer_format),
            ("data_without_its_log_is_refused", log_is_gone),
            ("malformed_settings_are_named_with_their_line", malformed_settings),
            ("dangerous_settings_are_refused", dangerous_settings),
            ("malformed_arguments_are_named", malformed_arguments),
            ("an_unknown_key_is_told_and_the_server_starts", unknown_key),
            ("help_and_version_are_printed", help_and_version),
            ("every_form_of_the_command_line_serves", forms_of_the_command_line),
            ("properties_of_a_jvm_are_understood", properties),
            ("sigterm_and_sigint_end_it_cleanly", clean_end),
            ("a_signal_ends_it_while_it_starts", end_while_starting),
            ("a_restart_keeps_the_data", restart_keeps_data),
            ("a_log_directory_of_its_own_is_used", own_log_directory),
        ],
        THREADS,
    )
}

/// Runs the program in `dir` with arguments, and expects it to end by itself.
fn run_in(dir: &Path, arguments: &[&str]) -> Result<Ended> {
    let output = dir.join("output");
    let log = fs::File::create(&output)?;
    let mut command = Command::new(program()?);
    command.args(arguments).current_dir(dir).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut child = command.spawn()?;
    let status = process::wait(&mut child, process::END_TIMEOUT)
        .with_context(|| format!("{arguments:?}: {:?}", fs::read_to_string(&output)))?;
    Ok(Ended { status, said: fs::read_to_string(&output)? })
}

/// Runs the program in `dir` until it serves, lets `look` look at it, and ends it with SIGTERM.
/// Gives what it said.
fn serve_in(
    dir: &Path,
    arguments: &[&str],
    look: impl FnOnce(u16) -> Result<()>,
) -> Result<String> {
    let output = dir.join("output");
    let log = fs::File::create(&output)?;
    let mut command = Command::new(program()?);
    command.args(arguments).current_dir(dir).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut child = command.spawn()?;
    let deadline = now() + START_TIMEOUT;
    let port = loop {
        let said = fs::read_to_string(&output)?;
        if let Some(port) = announced_port(&said) {
            break Ok(port);
        }
        if let Some(status) = child.try_wait()? {
            break Err(anyhow::anyhow!("{arguments:?}: {status}: {said}"));
        }
        if now() > deadline {
            break Err(anyhow::anyhow!("{arguments:?} does not serve: {said}"));
        }
        std::thread::sleep(PAUSE);
    };
    let looked = port.and_then(look);
    if child.try_wait()?.is_none() {
        signal("TERM", &child)?;
    }
    let status = process::wait(&mut child, END_LIMIT)?;
    looked?;
    ensure!(status.code() == Some(0), "{arguments:?}: {status}");
    Ok(fs::read_to_string(&output)?)
}

/// Expects all of these in a line.
fn expect(line: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(line.contains(part), "'{part}' is not in: {line}");
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn port_taken() -> Result<()> {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = taken.local_addr()?.port().to_string();
    let dir = tempfile::tempdir()?;
    let arguments = ["--port", &port, "--data", "d", "-DclientPortAddress=127.0.0.1"];

    let ended = run_in(dir.path(), &arguments)?;

    expect(ended.complaint(FAILURE)?, &["clientPort", &port, "choose another clientPort"])?;
    ensure!(!dir.path().join("d").exists(), "the data was touched");
    Ok(())
}

fn file_in_place_of_directory() -> Result<()> {
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("d"), "a file")?;
    for data in ["d", "d/below"] {
        let ended = run_in(dir.path(), &["--port", "0", "--data", data])?;
        expect(ended.complaint(FAILURE)?, &[data, "cannot write"])?;
    }
    // Nor does /proc take files, not even from root.
    let ended = run_in(dir.path(), &["--port", "0", "--data", "/proc/rookeeper"])?;
    expect(ended.complaint(FAILURE)?, &["/proc/rookeeper", "cannot write", "must own"])?;
    Ok(())
}

fn directory_must_exist() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let arguments = ["--port", "0", "--data", "d", "-Dzookeeper.datadir.autocreate=false"];

    let ended = run_in(dir.path(), &arguments)?;

    expect(ended.complaint(FAILURE)?, &["dataDir=d", "does not exist", "create it"])?;
    ensure!(!dir.path().join("d").exists(), "it was created");
    Ok(())
}

fn data_in_use() -> Result<()> {
    let first = Rookeeper::started(&[])?;
    let data = shown(&first.data());
    let dir = tempfile::tempdir()?;

    let ended = run_in(dir.path(), &["--port", "0", "--data", &data])?;

    expect(ended.complaint(FAILURE)?, &[&data, "in use", "stop that process", "dataDir"])?;
    let mut client = Client::open(first.port(), TIMEOUT_MS)?;
    client.create("/still-here", b"", 0)?;
    Ok(())
}

fn log_in_use() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let shared = shown(&dir.path().join("log"));
    let mut first = Rookeeper::new(&[("dataLogDir", &shared)])?;
    first.start()?;
    let property = format!("-DdataLogDir={shared}");

    let ended = run_in(dir.path(), &["--port", "0", "--data", "other", &property])?;

    expect(ended.complaint(FAILURE)?, &[&shared, "in use", "stop that process"])?;
    Ok(())
}

fn newer_format() -> Result<()> {
    let mut server = Rookeeper::started(&[])?;
    server.stop("TERM", END_LIMIT)?;
    let format = server.data().join("rookeeper/FORMAT");
    let text = fs::read_to_string(&format)?;
    fs::write(&format, text.replace("format 1", "format 99"))?;

    let ended = server.start_in_vain()?;

    expect(ended.complaint(FAILURE)?, &[&shown(&format), "format 99", "newer"])?;
    fs::write(&format, "nonsense")?;
    expect(server.start_in_vain()?.complaint(FAILURE)?, &[&shown(&format), "damaged", "restore"])?;
    fs::write(&format, text)?;
    server.start()
}

fn log_is_gone() -> Result<()> {
    let mut server = Rookeeper::started(&[])?;
    server.stop("TERM", END_LIMIT)?;
    fs::rename(server.raft(), server.home().join("elsewhere"))?;

    let ended = server.start_in_vain()?;

    expect(ended.complaint(FAILURE)?, &[&shown(&server.raft()), "dataLogDir"])?;
    ensure!(!server.raft().exists(), "a new log was begun");
    fs::rename(server.home().join("elsewhere"), server.raft())?;
    fs::remove_file(server.data().join("rookeeper/FORMAT"))?;
    expect(server.start_in_vain()?.complaint(FAILURE)?, &["FORMAT", "missing"])
}

fn malformed_settings() -> Result<()> {
    let cases: &[(&str, &[&str])] = &[
        ("tickTime=soon", &["zoo.cfg:3", "tickTime=soon", "whole number", "write"]),
        ("tickTime=0", &["zoo.cfg:3", "tickTime=0", "out of range", "write"]),
        ("clientPort=70000", &["zoo.cfg:3", "clientPort=70000", "65535"]),
        ("clientPort=", &["zoo.cfg:3", "clientPort="]),
        ("reconfigEnabled=perhaps", &["zoo.cfg:3", "reconfigEnabled=perhaps", "true or false"]),
        ("minSessionTimeout=9000\nmaxSessionTimeout=8000", &["minSessionTimeout", "8000"]),
        ("clientPortAddress=host.invalid", &["clientPortAddress=host.invalid", "address"]),
        ("name=\\u12", &["zoo.cfg:3", "\\uXXXX"]),
        ("maxClientCnxns=\u{1}9999999999999999999999", &["zoo.cfg:3", "maxClientCnxns"]),
    ];
    for (line, parts) in cases {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("zoo.cfg"), format!("dataDir=d\nclientPort=0\n{line}\n"))?;
        let ended = run_in(dir.path(), &["zoo.cfg"])?;
        let code = if line.contains("invalid") { FAILURE } else { USAGE };
        let complaint = ended.complaint(code).with_context(|| (*line).to_owned())?;
        expect(complaint, parts)?;
        ensure!(!dir.path().join("d").exists(), "{line}: the data was touched");
    }
    for (text, parts) in [
        ("clientPort=0\n", &["dataDir", "not set", "--data"]),
        ("dataDir=d\n", &["clientPort", "not set", "--port"]),
    ] {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("zoo.cfg"), text)?;
        expect(run_in(dir.path(), &["zoo.cfg"])?.complaint(USAGE)?, parts)?;
    }
    Ok(())
}

fn dangerous_settings() -> Result<()> {
    let two =
        "initLimit=10\nsyncLimit=5\nserver.1=localhost:2888:3888\nserver.2=localhost:2889:3889";
    let cases: &[(&str, &[&str])] = &[
        ("secureClientPort=2281", &["zoo.cfg:3", "secureClientPort=2281"]),
        (&format!("{two}\nsslQuorum=true"), &["zoo.cfg:7", "sslQuorum=true", "clear"]),
        (&format!("{two}\ngroup.1=1:2"), &["zoo.cfg:7", "group.1=1:2", "majority"]),
        ("server.1=a:1:2\nserver.2=b:1:2", &["zoo.cfg", "initLimit"]),
        (two, &["d/myid", "number", "1, 2"]),
        ("server.1=a:1:2:observer", &["zoo.cfg:3", "observe", "participants"]),
        ("dynamicConfigFile=members", &["members", "cannot read", "No such file"]),
    ];
    for (lines, parts) in cases {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("zoo.cfg"), format!("dataDir=d\nclientPort=0\n{lines}\n"))?;
        let ended = run_in(dir.path(), &["zoo.cfg"])?;
        expect(ended.complaint(USAGE).with_context(|| (*lines).to_owned())?, parts)?;
        ensure!(!dir.path().join("d").exists(), "{lines}: the data was touched");
    }
    Ok(())
}

fn malformed_arguments() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let cases: &[(&[&str], &[&str])] = &[
        (&["--nonsense"], &["--nonsense", "--help"]),
        (&["--port"], &["--port", "--help"]),
        (&["--port", "http"], &["http", "--port", "--help"]),
        (&["--port", "65536"], &["65536", "--help"]),
        (&["--data", ""], &["--data", "--help"]),
        (&["a.cfg", "--config", "b.cfg"], &["a.cfg", "b.cfg", "--help"]),
        (&["nowhere.cfg"], &["nowhere.cfg", "cannot read", "check"]),
        (&["--config", "."], &["cannot read", "check"]),
        (&["x", "d"], &["clientPort=x", "command line"]),
        (&["0", "d", "soon"], &["tickTime=soon", "command line"]),
        (&["0", "d", "1", "2", "3"], &["3", "--help"]),
    ];
    for (arguments, parts) in cases {
        let ended = run_in(dir.path(), arguments)?;
        expect(ended.complaint(USAGE).with_context(|| format!("{arguments:?}"))?, parts)?;
    }
    Ok(())
}

fn unknown_key() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let text = "dataDir=d\nclientPort=0\ntickTme=2000\nfrobnicate=1\n";
    fs::write(dir.path().join("zoo.cfg"), text)?;

    let said = serve_in(dir.path(), &["zoo.cfg"], |_| Ok(()))?;

    let warnings: Vec<&str> =
        said.lines().filter(|line| line.contains("WARN rookeeper: ")).collect();
    ensure!(warnings.len() == 2, "{said}");
    expect(&warnings.join("\n"), &["zoo.cfg:3", "tickTme", "tickTime", "zoo.cfg:4", "frobnicate"])
}

fn help_and_version() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for argument in ["--help", "-h"] {
        let ended = run_in(dir.path(), &[argument])?;
        ensure!(ended.status.code() == Some(0), "{argument}: {ended:?}");
        expect(&ended.said, &["--config", "--data", "--port", "--version", "PORT DATADIR"])?;
    }
    for argument in ["--version", "-V"] {
        let ended = run_in(dir.path(), &[argument])?;
        ensure!(ended.status.code() == Some(0), "{argument}: {ended:?}");
        let words: Vec<&str> = ended.said.split_whitespace().collect();
        let is_version = matches!(words.as_slice(), ["rookeeper", number] if number.contains('.'));
        ensure!(is_version, "{}", ended.said);
    }
    ensure!(!dir.path().join("data").exists(), "the data was touched");
    Ok(())
}

/// Writes and reads.
fn use_it(port: u16) -> Result<()> {
    let mut client = Client::open(port, TIMEOUT_MS)?;
    client.create("/used", b"data", 0)?;
    ensure!(client.get("/used")?.is_some_and(|(data, _)| data == "data"), "not read");
    client.close().map(drop)
}

fn forms_of_the_command_line() -> Result<()> {
    let cases: &[(&[&str], &str)] = &[
        (&["--port", "0"], "data"),
        (&["--port", "0", "--data", "elsewhere"], "elsewhere"),
        (&["zoo.cfg"], "from-file"),
        (&["--config", "zoo.cfg"], "from-file"),
        (&["--config=zoo.cfg", "--data", "over"], "over"),
        (&["0", "legacy"], "legacy"),
        (&["0", "legacy", "1000"], "legacy"),
        (&["0", "legacy", "1000", "5"], "legacy"),
        (&["-server", "-Xmx1g", "-cp", "a:b", "--port=0"], "data"),
    ];
    for (arguments, data) in cases {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("zoo.cfg"), "dataDir=from-file\nclientPort=0\n")?;
        serve_in(dir.path(), arguments, use_it)?;
        ensure!(dir.path().join(data).join("rookeeper").is_dir(), "{arguments:?}: no {data}");
    }
    Ok(())
}

fn properties() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let arguments = [
        "-DclientPortAddress=127.0.0.1",
        "-Dzookeeper.4lw.commands.whitelist=conf",
        "-DmaxSessionTimeout=7000",
        "-Djute.maxbuffer=50000",
        "-Dzookeeper.nonsense=1",
        "-Dcom.sun.management.jmxremote",
        "--port",
        "0",
    ];

    let said = serve_in(dir.path(), &arguments, |port| {
        let mut client = Client::open(port, 60_000)?;
        ensure!(client.session.timeout_ms == 7_000, "{:?}", client.session);
        client.create("/n", &vec![0; 49_000], 0)?;
        let too_large = client.create("/m", &vec![0; 51_000], 0);
        ensure!(too_large.is_err(), "jute.maxbuffer does not count");
        Ok(())
    })?;

    expect(&said, &["zookeeper.nonsense"])
}

fn clean_end() -> Result<()> {
    for name in ["TERM", "INT"] {
        let mut server = Rookeeper::started(&[])?;
        let mut client = Client::open(server.port(), TIMEOUT_MS)?;
        client.create("/kept", name.as_bytes(), 0)?;
        // One that waits, one that has sent half a request, and one without a session.
        let mut half = Client::open(server.port(), TIMEOUT_MS)?;
        half.send_raw(&[0, 0, 0, 40, 1, 2]);
        let _bare = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, server.port()))?;

        server.stop(name, END_LIMIT)?;

        let said = server.said();
        expect(&said, &["stopping", "stopped"])?;
        ensure!(!said.lines().any(|line| line.starts_with("rookeeper: ")), "{said}");
        server.start()?;
        let session = client.session.clone();
        let mut client = Client::attach(server.port(), &session)?.context("no session")?;
        ensure!(client.get("/kept")?.is_some_and(|(data, _)| data == name), "not kept");
    }
    Ok(())
}

fn end_while_starting() -> Result<()> {
    for delay_ms in [0, 10, 40, 80, 150] {
        for name in ["TERM", "INT"] {
            let mut server = Rookeeper::new(&[])?;
            server.launch()?;
            let deadline = now() + START_TIMEOUT;
            // Before it can catch signals, a signal ends it as the system has it.
            while !server.data().exists() && now() < deadline {
                std::thread::sleep(PAUSE);
            }
            std::thread::sleep(Duration::from_millis(delay_ms));
            server.stop(name, END_LIMIT).with_context(|| format!("after {delay_ms} ms"))?;
            server.start().with_context(|| format!("after SIG{name} at {delay_ms} ms"))?;
        }
    }
    Ok(())
}

fn restart_keeps_data() -> Result<()> {
    let mut server = Rookeeper::started(&[])?;
    let mut client = Client::open(server.port(), TIMEOUT_MS)?;
    let (_, stat) = client.create("/kept", b"data", 0)?;
    client.close()?;
    for restart in 0..3 {
        server.stop("TERM", END_LIMIT)?;
        server.start()?;
        let mut client = Client::open(server.port(), TIMEOUT_MS)?;
        let kept = client.get("/kept")?.with_context(|| format!("gone at restart {restart}"))?;
        ensure!(kept.1 == stat && kept.0 == "data", "{kept:?} in place of {stat:?}");
        client.call(OpCode::Ping, &Nothing)?;
    }
    Ok(())
}

fn own_log_directory() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let log = shown(&dir.path().join("log"));
    let mut server = Rookeeper::new(&[("dataLogDir", &log)])?;
    server.start()?;
    use_it(server.port())?;
    server.kill()?;
    ensure!(!server.raft().exists() && dir.path().join("log/rookeeper/raft").is_dir(), "{log}");
    server.start()?;
    let mut client = Client::open(server.port(), TIMEOUT_MS)?;
    ensure!(client.get("/used")?.is_some(), "the log was not read");
    Ok(())
}

//! The command line: ours, ZooKeeper's, and what start scripts written for a JVM add to it.
//!
//! ```text
//! rookeeper                                   built-in configuration
//! rookeeper --config FILE                     a zoo.cfg; also without --config
//! rookeeper PORT DATADIR [TICK [CNXNS]]       ZooKeeper's old form
//! rookeeper --recover --config FILE           an ensemble of this server alone, then exit
//! ```
//!
//! Parsing touches nothing; [`Serve::load`] reads the file. Flags of the JVM are dropped and told.

use crate::config::{Config, ConfigError, Level, Warning};
use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Names and values, in the order in which they were given.
type Settings = Vec<(String, String)>;

/// What the process was asked to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Invocation {
    /// Run the server.
    Serve(Serve),
    /// Print this text and exit with 0.
    Print(String),
}

/// How the server was asked to run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Serve {
    /// The file, unless the built-in configuration is used.
    pub config: Option<PathBuf>,
    /// What the command line sets, in order; see [`Config::from_zoo_cfg`].
    pub overrides: Vec<(String, String)>,
    /// Flags that only mean something to a JVM.
    pub jvm_flags: Vec<String>,
    /// To make the server's data an ensemble of its own instead of serving.
    pub recover: Option<Recover>,
}

/// How the data of a server is to become an ensemble of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Recover {
    /// Whoever asks is sure that the other servers are lost for good.
    pub others_are_lost: bool,
}

impl Serve {
    /// Reads the configuration.
    ///
    /// # Errors
    ///
    /// As [`Config::from_file`].
    pub fn load(&self) -> Result<(Config, Vec<Warning>), ConfigError> {
        let (config, mut warnings) = match &self.config {
            Some(path) => Config::from_file(path, &self.overrides)?,
            None => Config::embedded(&self.overrides)?,
        };
        if !self.jvm_flags.is_empty() {
            let text =
                format!("command line: ignored, for there is no JVM: {}", self.jvm_flags.join(" "));
            warnings.push(Warning { level: Level::Info, text });
        }
        Ok((config, warnings))
    }
}

/// Arguments that cannot be understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{problem}; see rookeeper --help")]
pub struct UsageError {
    problem: String,
}

impl UsageError {
    /// The exit code of the process: 2, ZooKeeper's for arguments and configuration.
    ///
    /// Source: ZooKeeper, `ExitCode.INVALID_INVOCATION`.
    pub const fn exit_code(&self) -> u8 {
        2
    }
}

/// Understands `arguments`, of which the first is the name of the program.
///
/// `environment` is the text of `SERVER_JVMFLAGS` and `JVMFLAGS`, in which units and charts keep
/// their `-D`; the arguments come after it and win. `version` is the text of `--version`.
///
/// # Errors
///
/// [`UsageError`]: an unknown flag, a malformed one, or too many arguments.
///
/// Source: ZooKeeper, `QuorumPeerMain.initializeAndRun` and `ServerConfig.parse`.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &str,
    version: &str,
) -> Result<Invocation, UsageError> {
    let mut arguments = arguments.into_iter();
    let program = arguments.next().unwrap_or_else(|| OsString::from("rookeeper"));
    let (mut properties, mut jvm_flags) = environment_properties(environment);
    let (own, dropped) = without_jvm_flags(arguments);
    jvm_flags.extend(dropped);

    let matches = match command().try_get_matches_from(std::iter::once(program).chain(own)) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            return Ok(Invocation::Print(error.render().to_string()));
        }
        Err(error) => return Err(one_line(&error)),
    };
    if matches.get_flag("version") {
        return Ok(Invocation::Print(format!("{version}\n")));
    }
    let given = matches.get_many::<String>("property").unwrap_or_default();
    properties.extend(given.map(|text| property(text)));
    let (config, legacy) = files_and_legacy(&matches)?;
    let mut overrides = properties;
    overrides.extend(legacy);
    overrides.extend(named(&matches, "data", "dataDir"));
    overrides.extend(named(&matches, "port", "clientPort"));
    let others_are_lost = matches.get_flag("others-are-lost");
    let recover = matches.get_flag("recover").then_some(Recover { others_are_lost });
    Ok(Invocation::Serve(Serve { config, overrides, jvm_flags, recover }))
}

/// The flags, and their help.
fn command() -> Command {
    Command::new("rookeeper")
        .about("A server that speaks ZooKeeper's client protocol")
        .override_usage("rookeeper [OPTIONS] [FILE]\n       rookeeper PORT DATADIR [TICKTIME [MAXCLIENTCNXNS]]")
        .disable_version_flag(true)
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Read this zoo.cfg [default: data in ./data, port 2181]"),
        )
        .arg(
            Arg::new("data")
                .long("data")
                .value_name("DIR")
                .value_parser(NonEmptyStringValueParser::new())
                .help("Keep the data here, whatever dataDir says"),
        )
        .arg(
            Arg::new("port")
                .long("port")
                .value_name("N")
                .value_parser(value_parser!(u16))
                .help("Listen here, whatever clientPort says; 0 takes any free port"),
        )
        .arg(
            Arg::new("property")
                .short('D')
                .value_name("NAME=VALUE")
                .action(ArgAction::Append)
                .value_parser(NonEmptyStringValueParser::new())
                .help("Set a key of zoo.cfg or a system property of ZooKeeper"),
        )
        .arg(
            Arg::new("recover")
                .long("recover")
                .action(ArgAction::SetTrue)
                .help("Make this stopped server's data an ensemble of its own, and exit"),
        )
        .arg(
            Arg::new("others-are-lost")
                .long("others-are-lost")
                .requires("recover")
                .action(ArgAction::SetTrue)
                .help("With --recover: the other servers will never serve again"),
        )
        .arg(
            Arg::new("version")
                .long("version")
                .short('V')
                .action(ArgAction::SetTrue)
                .help("Print the version"),
        )
        .arg(
            Arg::new("positional")
                .value_name("FILE")
                .num_args(0..=LEGACY_ARGUMENTS_MAX)
                .value_parser(value_parser!(OsString))
                .help("Read this zoo.cfg; two to four arguments are PORT DATADIR [TICKTIME [MAXCLIENTCNXNS]]"),
        )
}

/// Port, data directory, tick and connections.
const LEGACY_KEYS: [&str; LEGACY_ARGUMENTS_MAX] =
    ["clientPort", "dataDir", "tickTime", "maxClientCnxns"];
const LEGACY_ARGUMENTS_MAX: usize = 4;

/// The file, or the settings of ZooKeeper's old form, in which a tick is 3,000 ms.
fn files_and_legacy(matches: &ArgMatches) -> Result<(Option<PathBuf>, Settings), UsageError> {
    let config = matches.get_one::<PathBuf>("config").cloned();
    let positional: Vec<&OsString> = matches.get_many("positional").unwrap_or_default().collect();
    match (config, positional.as_slice()) {
        (config, []) => Ok((config, Vec::new())),
        (None, [file]) => Ok((Some(PathBuf::from(file)), Vec::new())),
        (Some(config), [first, ..]) => {
            let (config, first) = (config.display(), Path::new(first).display());
            let problem = format!("both --config {config} and the argument {first} are given");
            Err(UsageError { problem })
        }
        (None, [_, _, ..]) => {
            let mut settings = vec![("tickTime".to_owned(), "3000".to_owned())];
            for (key, value) in LEGACY_KEYS.into_iter().zip(positional) {
                let value = value.to_str().ok_or_else(|| UsageError {
                    problem: format!("{} is not UTF-8", Path::new(value).display()),
                })?;
                settings.push((key.to_owned(), value.to_owned()));
            }
            Ok((None, settings))
        }
    }
}

/// The option `id` as a setting of `key`, if it was given.
fn named(matches: &ArgMatches, id: &str, key: &str) -> Option<(String, String)> {
    let mut values = matches.get_raw(id)?;
    // The parsers of both options took the value, so it is UTF-8 and nothing is lost here.
    Some((key.to_owned(), values.next_back()?.to_string_lossy().into_owned()))
}

/// Splits `name=value`; a name alone has an empty value, as in Java.
fn property(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.to_owned(), value.to_owned())
}

/// The `-D` in the text of an environment variable, and everything else in it.
fn environment_properties(text: &str) -> (Settings, Vec<String>) {
    let mut properties = Vec::new();
    let mut others = Vec::new();
    for flag in text.split_ascii_whitespace() {
        match flag.strip_prefix("-D") {
            Some(definition) if !definition.is_empty() => properties.push(property(definition)),
            Some(_) | None => others.push(flag.to_owned()),
        }
    }
    (properties, others)
}

/// JVM flags that stand alone.
const JVM_FLAGS: &[&str] =
    &["-server", "-client", "-ea", "-da", "-esa", "-dsa", "--enable-preview"];

/// JVM flags by how they begin.
const JVM_PREFIXES: &[&str] = &[
    "-X",
    "-javaagent:",
    "-agentlib:",
    "-agentpath:",
    "-verbose:",
    "-ea:",
    "-da:",
    "--add-opens=",
    "--add-exports=",
    "--add-modules=",
    "--add-reads=",
    "--illegal-access=",
];

/// JVM flags that take the next argument as well.
const JVM_PAIRS: &[&str] = &[
    "-cp",
    "-classpath",
    "--class-path",
    "--add-opens",
    "--add-exports",
    "--add-modules",
    "--add-reads",
];

/// Separates our arguments from the JVM's.
fn without_jvm_flags(arguments: impl Iterator<Item = OsString>) -> (Vec<OsString>, Vec<String>) {
    let mut own = Vec::new();
    let mut dropped = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let Some(text) = argument.to_str() else {
            own.push(argument);
            continue;
        };
        if JVM_PAIRS.contains(&text) {
            dropped.push(text.to_owned());
            dropped.extend(arguments.next().map(|next| next.to_string_lossy().into_owned()));
        } else if JVM_FLAGS.contains(&text)
            || JVM_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        {
            dropped.push(text.to_owned());
        } else {
            own.push(argument);
        }
    }
    (own, dropped)
}

/// The first line of clap's complaint, without its label.
fn one_line(error: &clap::Error) -> UsageError {
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default();
    UsageError { problem: first.strip_prefix("error: ").unwrap_or(first).to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> Result<Invocation, UsageError> {
        run_with("", arguments)
    }

    fn run_with(environment: &str, arguments: &[&str]) -> Result<Invocation, UsageError> {
        let all = std::iter::once(&"rookeeper").chain(arguments).map(OsString::from);
        parse(all, environment, "Rookeeper 1.2.3")
    }

    fn serve(arguments: &[&str]) -> Serve {
        match run(arguments) {
            Ok(Invocation::Serve(serve)) => serve,
            other => panic!("{arguments:?} gave {other:?}"),
        }
    }

    fn pairs(settings: &[(&str, &str)]) -> Vec<(String, String)> {
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn without_arguments_the_built_in_configuration_is_served() {
        let (config, warnings) = serve(&[]).load().unwrap();

        assert_eq!(config, Config::embedded_default());
        assert_eq!(warnings, []);
    }

    #[test]
    fn a_file_is_named_with_or_without_the_option() {
        for arguments in [&["--config", "/etc/zoo.cfg"][..], &["/etc/zoo.cfg"]] {
            let serve = serve(arguments);
            assert_eq!(serve.config.as_deref(), Some(Path::new("/etc/zoo.cfg")), "{arguments:?}");
            assert_eq!(serve.overrides, []);
        }
    }

    #[test]
    fn the_old_form_gives_port_directory_tick_and_connections() {
        let cases: [(&[&str], u32, u32); 3] = [
            (&["2222", "/d"], 3_000, 60),
            (&["2222", "/d", "500"], 500, 60),
            (&["2222", "/d", "500", "7"], 500, 7),
        ];
        for (arguments, tick_time_ms, max_client_cnxns) in cases {
            let (config, _) = serve(arguments).load().unwrap();
            assert_eq!(config.client_port, 2_222, "{arguments:?}");
            assert_eq!(config.data_dir, Path::new("/d"), "{arguments:?}");
            assert_eq!(config.data_log_dir, Path::new("/d"), "{arguments:?}");
            assert_eq!(config.tick_time_ms, tick_time_ms, "{arguments:?}");
            assert_eq!(config.max_client_cnxns, max_client_cnxns, "{arguments:?}");
        }
    }

    #[test]
    fn properties_options_and_the_environment_become_overrides_in_that_order_of_weight() {
        let arguments = ["-Djute.maxbuffer=5000", "-D", "zookeeper.skipACL=yes", "--port", "0"];

        let invocation = run_with("-Dzookeeper.snapCount=9 -Dx -Xmx1g", &arguments);

        let expected = pairs(&[
            ("zookeeper.snapCount", "9"),
            ("x", ""),
            ("jute.maxbuffer", "5000"),
            ("zookeeper.skipACL", "yes"),
            ("clientPort", "0"),
        ]);
        let jvm_flags = vec!["-Xmx1g".to_owned()];
        let expected = Serve { config: None, overrides: expected, jvm_flags, recover: None };
        assert_eq!(invocation, Ok(Invocation::Serve(expected)));
    }

    #[test]
    fn data_and_port_change_the_built_in_configuration() {
        let (config, _) = serve(&["--data", "/elsewhere", "--port", "4000"]).load().unwrap();

        assert_eq!(config.data_dir, Path::new("/elsewhere"));
        assert_eq!(config.data_log_dir, Path::new("/elsewhere"));
        assert_eq!((config.client_port, config.tick_time_ms), (4_000, 2_000));
    }

    #[test]
    fn flags_of_a_jvm_are_dropped_and_told_in_one_line() {
        let flags =
            ["-Xmx1g", "-XX:+UseG1GC", "-cp", "a:b", "--add-opens", "java.base/x=ALL", "-server"];
        let arguments: Vec<&str> = flags.into_iter().chain(["--port", "4000"]).collect();

        let serve = serve(&arguments);

        assert_eq!(serve.jvm_flags, flags);
        let (config, warnings) = serve.load().unwrap();
        assert_eq!(config.client_port, 4_000);
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].level, Level::Info);
        assert!(warnings[0].text.contains("-XX:+UseG1GC -cp a:b"), "{}", warnings[0]);
    }

    #[test]
    fn help_and_version_are_texts_to_print() {
        let version = Invocation::Print("Rookeeper 1.2.3\n".to_owned());
        assert_eq!(run(&["--version"]), Ok(version));
        let Ok(Invocation::Print(help)) = run(&["--help"]) else { panic!("help is not printed") };
        for option in ["--config", "--data", "--port", "-D", "--version", "DATADIR"] {
            assert!(help.contains(option), "{option} is not in the help:\n{help}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_one_line_with_exit_code_2() {
        let cases: [(&[&str], &str); 8] = [
            (&["--nosuch"], "--nosuch"),
            (&["--port", "70000"], "70000"),
            (&["--port", "x"], "'x'"),
            (&["--data", ""], "--data"),
            (&["-data", "/x"], "-d"),
            (&["--config"], "--config"),
            (&["--config", "a", "b"], "both --config a and the argument b"),
            (&["1", "2", "3", "4", "5"], "5"),
        ];
        for (arguments, part) in cases {
            let error = run(arguments).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(part), "{arguments:?} gave {text}");
            assert!(!text.contains('\n') && text.ends_with("see rookeeper --help"), "{text}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn a_bad_argument_of_the_old_form_names_the_key_and_the_command_line() {
        let error = serve(&["2181", "/d", "soon"]).load().unwrap_err();

        let text = error.to_string();
        assert!(text.starts_with("command line: tickTime=soon is not a whole number"), "{text}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_missing_file_is_an_error_that_names_it() {
        let error = serve(&["/nonexistent/zoo.cfg"]).load().unwrap_err();

        assert!(error.to_string().starts_with("/nonexistent/zoo.cfg: cannot read"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

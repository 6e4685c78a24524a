//! The command line.

use crate::admin::{self, Admin};
use crate::bench::{self, Bench};
use crate::config::keys::{KEYS, Key, nearest};
use crate::config::{Config, Layers, Loaded, UsageError, value};
use crate::exit::Code;
use crate::flags::Flags;
use crate::inspect::{self, Inspect};
use crate::wal_orders::{self, WalOrder};
use std::ffi::OsString;

/// What the process is asked to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Be a broker.
    Run(Box<Config>),
    /// Tell all keys of the configuration.
    Reference,
    /// Tell what holds for a broker that would be started like this.
    Effective(Box<Loaded>),
    /// Ask a running broker.
    Admin(Admin),
    /// Look at what is stored.
    Inspect(Inspect),
    /// Do something to a write-ahead log.
    Wal(WalOrder),
    /// Measure.
    Bench(Bench),
    /// Explain the command line.
    Help,
    /// Say which version this is.
    Version,
}

/// Reads the command line, without the program's name, and the environment.
///
/// # Errors
/// Says what is wrong with them.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter().peekable();
    let word = arguments.next_if(|first| COMMANDS.iter().any(|command| first == command));
    match word.as_ref().and_then(|word| word.to_str()) {
        Some("bench") => bench::parse(arguments).map(Command::Bench),
        Some("config") => configure(Flags::new(arguments), Layers::new(environment)),
        Some("inspect") => inspect::parse(Flags::new(arguments), Layers::new(environment)).map(Command::Inspect),
        Some("wal") => wal_orders::parse(Flags::new(arguments), Layers::new(environment)).map(Command::Wal),
        Some(word) => admin::parse(word, arguments, Layers::new(environment)).map(Command::Admin),
        None => run(Flags::new(arguments), Layers::new(environment)),
    }
}

/// Everything but being a broker.
const COMMANDS: [&str; 7] = ["bench", "config", "groups", "inspect", "status", "topics", "wal"];

fn run(mut flags: Flags<impl Iterator<Item = OsString>>, mut layers: Layers) -> Result<Command, UsageError> {
    while let Some(flag) = flags.advance()? {
        match flag.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--version" | "-V" => return Ok(Command::Version),
            _ => key(&mut flags, &mut layers)?,
        }
    }
    layers.load().map(|loaded| Command::Run(Box::new(loaded.config)))
}

fn configure(mut flags: Flags<impl Iterator<Item = OsString>>, mut layers: Layers) -> Result<Command, UsageError> {
    let mut effective = None;
    while let Some(flag) = flags.advance()? {
        match flag.as_str() {
            "--effective" => effective = Some(flag),
            "--help" | "-h" => return Ok(Command::Help),
            _ => {
                key(&mut flags, &mut layers)?;
                if effective.is_none() {
                    effective = Some(flag);
                }
            }
        }
    }
    // With anything that would change a broker, what is wanted is what came of it.
    if effective.is_none() {
        return Ok(Command::Reference);
    }
    layers.load().map(|loaded| Command::Effective(Box::new(loaded)))
}

/// One flag that a broker has.
pub(crate) fn key(flags: &mut Flags<impl Iterator<Item = OsString>>, layers: &mut Layers) -> Result<(), UsageError> {
    if flags.is("--config") {
        let path = flags.value()?;
        value::not_empty(&path).map_err(|what| UsageError(format!("--config {what}")))?;
        layers.file(path.into());
        return Ok(());
    }
    if let Some(command) = COMMANDS.iter().find(|command| flags.is(command)) {
        return Err(UsageError(format!(
            "{command} is a command, which comes before all options: karst {command} [OPTIONS]"
        )));
    }
    let Some(key) = KEYS.iter().find(|key| flags.is(&key.flag())) else {
        let known: Vec<String> = KEYS.iter().map(Key::flag).chain(["--config".into()]).collect();
        return Err(flags.unknown(|typed| nearest(typed, known.iter().map(String::as_str).chain(COMMANDS))));
    };
    if key.is_secret() {
        return Err(UsageError(format!(
            "{} is a secret, which everybody on this machine could read on the command line: put it into {} or into a \
             file",
            key.name,
            key.variable()
        )));
    }
    let value = if key.is_switch() { flags.given().unwrap_or_else(|| "true".into()) } else { flags.value()? };
    layers.flag(key, value);
    Ok(())
}

/// The text of `--help`.
#[must_use]
pub fn help() -> String {
    format!(
        "\
karst {version}: a Kafka-compatible broker on object storage

Without options it is a whole cluster in one process, on a directory.

Usage: karst [OPTIONS]                                     be a broker
       karst config [--effective] [OPTIONS]                tell all settings, or those that would hold
       karst status [--http HOST:PORT] [--json]            ask the broker that is configured, or that one, how it is
       karst topics list|describe|create|delete [OPTIONS]  see karst topics --help
       karst groups list|describe [OPTIONS]                consumer groups, and how far behind they are
       karst inspect wal|metadata|object|bucket [OPTIONS]  look into what is stored, and verify it
       karst wal blank [--overwrite] [OPTIONS]             make a device ready for a new write-ahead log
       karst wal give-up UUID [--yes] [OPTIONS]            go on without a write-ahead log that is lost for good
       karst bench disk|broker|reads|core [OPTIONS]        measure; see karst bench --help

Options, most used first; 'karst config' explains all of them, with units and ranges:
  --config FILE           a TOML file with settings; the environment overrides it, and options override both
  --data-dir DIR          everything that the broker keeps; one broker per directory [./karst-data]
                          (DIR/wal: the write-ahead log, DIR/objects: the object store)
  --listen HOST:PORT      where to listen for Kafka clients [127.0.0.1:9092]
  --advertise HOST:PORT   where clients reach the broker, if not at --listen
  --http HOST:PORT|off    /metrics, /healthz, /readyz and /status [127.0.0.1:9644]
  --object-store URL      a bucket instead of DIR/objects:
                          s3://BUCKET?region=REGION&endpoint=http://HOST:PORT&path-style=true
                          (all after BUCKET may be left out; path-style is true with an endpoint)
  --wal-device URI        where the write-ahead log is: file:PATH; block:PATH, a whole block device; or object:, in
                          the object store, so that nothing is kept on a disk [file:DIR/wal]
  --wal-size BYTES        length of a new write-ahead log, such as 512MiB or 2GiB [512MiB];
                          one that exists keeps its length
  --node-id N             the broker's id, for good [0]
  --log-level FILTER      what to log: error, warn, info, debug, trace, or by module, such as
                          info,karst_core::wal=debug [info]
  --log-format FORMAT     human or json [human]
  --check-invariants      check every machine's invariants after every step: slow, for tests
  --version, -V           say which version this is
  --help, -h              say this

{others}

SIGTERM and SIGINT (Ctrl-C) stop the broker in order; a second one stops it at once, which is safe too: the next start
reads the write-ahead log back. SIGHUP changes nothing: settings are read at the start only.

Credentials for S3 come from where AWS programs look for them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws/, a
web identity token, the container's or the machine's role; or from s3.access.key.id and s3.secret.access.key in the file.

Exit codes:
{codes}",
        version = env!("CARGO_PKG_VERSION"),
        others = others(),
        codes = Code::TABLE,
    )
}

/// Every other flag, by its name only.
fn others() -> String {
    const TOLD: [&str; 11] = [
        "data.dir",
        "listen",
        "advertise",
        "http",
        "object.store",
        "wal.device",
        "wal.size",
        "node.id",
        "log.level",
        "log.format",
        "check.invariants",
    ];
    let rest = KEYS.iter().filter(|key| !TOLD.contains(&key.name) && !key.is_secret());
    let mut out = String::from("Also:");
    let mut column = out.len();
    for flag in rest.map(Key::flag) {
        if column + 1 + flag.len() > 110 {
            out += "\n     ";
            column = 5;
        }
        column += 1 + flag.len();
        out = out + " " + &flag;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WalDevice;
    use karst_core::id::NodeId;
    use std::path::PathBuf;

    fn command(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from), []).map_err(|error| error.to_string())
    }

    fn run(line: &str) -> Result<Config, String> {
        match command(line)? {
            Command::Run(config) => Ok(*config),
            other => panic!("not a broker: {other:?}"),
        }
    }

    #[test]
    fn everything_has_a_default_and_can_be_said_in_two_ways() {
        let config = run("").expect("defaults");
        assert_eq!(config.listen, "127.0.0.1:9092");
        assert_eq!(config.wal(), WalDevice::File("karst-data/wal".into()));
        let config =
            run("--data-dir /d --listen=[::1]:1 --advertise h:2 --wal-size=2GiB --node-id 7 --check-invariants");
        let config = config.expect("all legal");
        assert_eq!(config.objects(), PathBuf::from("/d/objects"));
        assert_eq!(config.listen, "[::1]:1");
        assert_eq!(config.advertise.as_ref().map(ToString::to_string).as_deref(), Some("h:2"));
        assert_eq!((config.wal_size, config.node), (Some(2 << 30), NodeId(7)));
        let bucket = run("--object-store s3://abc?endpoint=http://h:1").expect("legal").bucket.expect("given");
        assert_eq!((bucket.bucket.as_str(), bucket.path_style), ("abc", true));
        run("--log-level off").expect("no log at all");
        run("--log-level warn,karst_core::wal=trace,karst=DEBUG").expect("levels by module");
        assert!(config.check_invariants);
        assert!(!run("--check-invariants --check-invariants=false").expect("the last one holds").check_invariants);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, named) in [
            ("--wal-sise 1", "no option --wal-sise: did you mean --wal-size?"),
            ("--frobnicate", "no option --frobnicate"),
            ("serve", "no command \"serve\""),
            ("confg", "no command \"confg\": did you mean config?"),
            ("--data-dir /d config", "config is a command, which comes before all options: karst config [OPTIONS]"),
            ("config --node-id 3 topics", "topics is a command, which comes before all options"),
            ("--listen", "--listen needs a value"),
            ("--listen 9092", "not HOST:PORT"),
            ("--listen ::1:9092", "not HOST:PORT"),
            ("--listen h:99999", "not HOST:PORT"),
            ("--http on", "not HOST:PORT"),
            ("--advertise 0.0.0.0:9092", "not an address that a client"),
            ("--advertise h:0", "not an address that a client"),
            ("--advertise a_b..c:1", "not HOST:PORT"),
            ("--advertise kafka://h:1", "not HOST:PORT"),
            ("--advertise [::1.2]:1", "not HOST:PORT"),
            ("--advertise [h]:1", "not HOST:PORT"),
            ("--listen h:-1", "not HOST:PORT"),
            ("--data-dir --listen", "--data-dir needs a value"),
            ("--data-dir=", "--data-dir needs a value"),
            ("--wal-size -1", "not a size"),
            ("--wal-size 1.5GiB", "not a size"),
            ("--node-id -1", "not a number"),
            ("--wal-size 512MB", "not a size"),
            ("--wal-size 0", "out of range"),
            ("--wal-size 99999999999999TiB", "not a size"),
            ("--node-id 4294967295", "out of range: from 0 to 2147483647"),
            ("--object-store ./objects", "does not begin with s3://"),
            ("--log-level a=b=c", "not a log filter"),
            ("--log-level inof", "not a log filter"),
            ("--log-level debug=", "not a log filter"),
            ("--log-level info,", "not a log filter"),
            ("--log-level=", "--log-level needs a value"),
            ("--log-format xml", "neither human nor json"),
            ("--check-invariants=yes", "neither true nor false"),
            ("--message-max-bytes 200MiB", "record.batch.max.bytes"),
            ("--message-max-bytes 2MiB --socket-request-max-bytes 1MiB", "must fit into a request"),
            ("--config /nowhere/karst.toml", "/nowhere/karst.toml cannot be read"),
            ("config --wal-sise 1", "did you mean --wal-size?"),
            ("config effective", "no command \"effective\""),
        ] {
            let error = command(line).expect_err(line);
            assert!(error.contains(named), "{line}: {error}");
        }
    }

    #[test]
    fn secrets_are_not_taken_from_the_command_line_and_not_shown() {
        for (line, named) in [
            ("--s3-secret-access-key hush", "command line"),
            ("--s3-secret-access-key=hush", "command line"),
            ("--object-store s3://key:hush@abc", "has an '@'"),
            ("--object-store s3://abc?secret=hush", "no setting \"secret\""),
            ("--object-store s3://abc?endpoint=http://key:hush@h", "has an '@'"),
        ] {
            let error = command(line).expect_err(line);
            assert!(error.contains(named) && !error.contains("hush"), "{line}: {error}");
        }
    }

    #[test]
    fn clients_are_told_something_they_can_connect_to() {
        let at = |line: &str, bound: &str| {
            run(line).expect("legal").advertised(bound.parse().expect("an address")).to_string()
        };
        assert_eq!(at("--listen localhost:0", "127.0.0.1:4711"), "localhost:4711");
        assert_eq!(at("--listen [::1]:9092", "[::1]:9092"), "[::1]:9092");
        assert!(at("--listen 0.0.0.0:9092", "0.0.0.0:9092").ends_with(":9092"), "by the host's name");
        assert_eq!(at("--listen 0.0.0.0:9092 --advertise h:1", "0.0.0.0:9092"), "h:1");
    }

    #[test]
    fn help_tells_every_option_and_exit_code() {
        let help = help();
        for key in KEYS.iter().filter(|key| !key.is_secret()) {
            assert!(help.split(['\n', ' ']).any(|word| word == key.flag()), "{}", key.flag());
        }
        for code in [64, 65, 66, 67, 68, 69, 70, 71, 72, 130] {
            assert!(help.contains(&format!("\n    {code}")), "{code}");
        }
    }
}

//! The command line.

use crate::bench::{self, Bench};
use crate::exit::Code;
use crate::flags::Flags;
use crate::store::Location;
use karst_core::id::NodeId;
use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Length of a new WAL where nothing else is asked.
pub const WAL_SIZE: u64 = 512 << 20;

/// What the process is asked to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Be a broker.
    Run(Box<Config>),
    /// Measure.
    Bench(Bench),
    /// Explain the command line.
    Help,
    /// Say which version this is.
    Version,
}

/// How a broker runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Everything that it keeps.
    pub data_dir: PathBuf,
    /// Where it listens for Kafka clients: HOST:PORT.
    pub listen: String,
    /// Where clients reach it, if not there.
    pub advertise: Option<Endpoint>,
    /// The bucket that it keeps objects in, if not a directory.
    pub bucket: Option<Location>,
    /// Length of a new WAL in bytes, if asked for.
    pub wal_size: Option<u64>,
    /// Its id in the cluster.
    pub node: NodeId,
    /// Whether machines check their invariants after every input.
    pub check_invariants: bool,
    /// What is logged.
    pub log: Targets,
}

/// A host and a port, as a client is told them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What is wrong with a command line. Its text is for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "karst-data".into(),
            listen: "127.0.0.1:9092".into(),
            advertise: None,
            bucket: None,
            wal_size: None,
            node: NodeId(0),
            check_invariants: false,
            log: Targets::new().with_default(LevelFilter::INFO),
        }
    }
}

impl Config {
    /// Where the WAL is.
    #[must_use]
    pub fn wal(&self) -> PathBuf {
        self.data_dir.join("wal")
    }

    /// The object store's directory, where no bucket is named.
    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.data_dir.join("objects")
    }

    /// What clients are told, once it is known that the broker listens at `bound`.
    ///
    /// # Errors
    /// When it listens everywhere and nobody said under which name clients find it.
    pub fn advertised(&self, bound: SocketAddr) -> Result<Endpoint, UsageError> {
        if let Some(asked) = &self.advertise {
            return Ok(asked.clone());
        }
        if bound.ip().is_unspecified() {
            return Err(UsageError(format!(
                "--listen {} names no host that clients could connect to: add --advertise HOST:PORT",
                self.listen
            )));
        }
        let host = self.listen.rsplit_once(':').map_or(self.listen.as_str(), |(host, _)| host);
        Ok(Endpoint { host: host.trim_matches(['[', ']']).into(), port: bound.port() })
    }
}

/// Reads the command line, without the program's name.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter().peekable();
    if arguments.next_if(|first| first == "bench").is_some() {
        return bench::parse(arguments).map(Command::Bench);
    }
    let mut config = Config::default();
    let mut flags = Flags::new(arguments);
    while let Some(flag) = flags.advance()? {
        match flag.as_str() {
            "--data-dir" => config.data_dir = not_empty(&flag, flags.value()?)?.into(),
            "--listen" => {
                let listen = flags.value()?;
                endpoint(&flag, &listen)?;
                config.listen = listen;
            }
            "--advertise" => config.advertise = Some(advertised(&flag, &flags.value()?)?),
            "--object-store" => config.bucket = Some(Location::parse(&flag, &flags.value()?)?),
            "--wal-size" => config.wal_size = Some(bytes(&flag, &flags.value()?)?),
            "--node-id" => config.node = NodeId(node_id(&flag, &flags.value()?)?),
            "--log" => config.log = filter(&flag, &flags.value()?)?,
            "--check-invariants" => config.check_invariants = true,
            "--help" | "-h" => return Ok(Command::Help),
            "--version" | "-V" => return Ok(Command::Version),
            _ => return Err(flags.unknown()),
        }
    }
    Ok(Command::Run(Box::new(config)))
}

/// The text of `--help`.
#[must_use]
pub fn help() -> String {
    format!(
        "\
karst {version}: a Kafka-compatible broker on object storage

Without options it is a whole cluster in one process, on a directory.

Usage: karst [OPTIONS]
       karst bench disk|broker|core [OPTIONS]   measure; see karst bench --help

Options:
  --data-dir DIR          everything that the broker keeps; one broker per directory [./karst-data]
                          (DIR/wal: the write-ahead log, DIR/objects: the object store)
  --listen HOST:PORT      where to listen for Kafka clients [127.0.0.1:9092]
  --advertise HOST:PORT   where clients reach the broker, if not at --listen
  --object-store URL      a bucket instead of DIR/objects:
                          s3://BUCKET?region=REGION&endpoint=http://HOST:PORT&path-style=true
                          (all after BUCKET may be left out; path-style is true with an endpoint)
  --wal-size BYTES        length of a new write-ahead log, such as 512MiB or 2GiB [512MiB];
                          one that exists keeps its length
  --node-id N             the broker's id, for good [0]
  --log FILTER            what to log: error, warn, info, debug, trace, or by module, such as
                          info,karst_core::wal=debug [info]
  --check-invariants      check every machine's invariants after every step: slow, for tests
  --version, -V           say which version this is
  --help, -h              say this

SIGTERM and SIGINT (Ctrl-C) stop the broker in order; a second one stops it at once, which is safe too: the next start
reads the write-ahead log back. SIGHUP changes nothing: there is no configuration to reload.

Credentials for S3 come from where AWS programs look for them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws/, a
web identity token, the container's or the machine's role.

Exit codes:
{codes}",
        version = env!("CARGO_PKG_VERSION"),
        codes = Code::TABLE,
    )
}

pub(crate) fn not_empty(flag: &str, value: String) -> Result<String, UsageError> {
    if value.is_empty() { Err(UsageError(format!("{flag} needs a value"))) } else { Ok(value) }
}

pub(crate) fn endpoint(flag: &str, value: &str) -> Result<Endpoint, UsageError> {
    let bad = || UsageError(format!("{flag} {value:?} is not HOST:PORT, such as localhost:9092 or [::1]:9092"));
    let (host, port) = value.rsplit_once(':').ok_or_else(bad)?;
    let port = port.parse().map_err(|_| bad())?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = bare.map_or_else(|| is_name(host), is_ip6);
    if is_host { Ok(Endpoint { host: bare.unwrap_or(host).into(), port }) } else { Err(bad()) }
}

/// A host name or an IPv4 address: labels of letters, digits, hyphens and, as many have them, underscores.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let legal = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        legal && (1..=63).contains(&label.len()) && !label.starts_with('-')
    };
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(is_label)
}

/// An IPv6 address, perhaps with the zone of a link-local one.
fn is_ip6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').map_or((host, None), |(address, zone)| (address, Some(zone)));
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(|zone| !zone.is_empty() && is_name(zone))
}

fn advertised(flag: &str, value: &str) -> Result<Endpoint, UsageError> {
    let endpoint = endpoint(flag, value)?;
    if endpoint.port == 0 || matches!(endpoint.host.as_str(), "0.0.0.0" | "::") {
        return Err(UsageError(format!("{flag} {value:?} is not an address that a client can connect to")));
    }
    Ok(endpoint)
}

/// A positive count of bytes, with a binary unit or none.
pub(crate) fn bytes(flag: &str, value: &str) -> Result<u64, UsageError> {
    let bad = || UsageError(format!("{flag} {value:?} is not a size: use bytes, KiB, MiB, GiB or TiB, such as 512MiB"));
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match value[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => return Err(bad()),
    };
    let count: u64 = digits.parse().map_err(|_| bad())?;
    count.checked_mul(unit).filter(|bytes| (1..=1 << 50).contains(bytes)).ok_or_else(bad)
}

/// Kafka's node ids are signed on the wire.
fn node_id(flag: &str, value: &str) -> Result<u32, UsageError> {
    let id = value.parse().ok().filter(|id| *id <= i32::MAX as u32);
    id.ok_or_else(|| UsageError(format!("{flag} {value:?} is not a number from 0 to {}", i32::MAX)))
}

/// Levels, alone or of a module. A bare word that is no level would be a module of which everything is logged, and of
/// others nothing: a typing error, which would leave the operator without a log.
fn filter(flag: &str, value: &str) -> Result<Targets, UsageError> {
    let is_level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    let is_legal = |part: &str| is_level(part.rsplit_once('=').map_or(part, |(_, level)| level));
    let filter = value.split(',').all(is_legal).then(|| value.parse().ok()).flatten();
    filter.ok_or_else(|| {
        UsageError(format!(
            "{flag} {value:?} is not a log filter: use error, warn, info, debug, trace or off, alone or for a module, such \
             as info,karst_core::wal=debug"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Config, String> {
        match parse(line.split_whitespace().map(OsString::from)) {
            Ok(Command::Run(config)) => Ok(*config),
            Ok(other) => panic!("not a broker: {other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn everything_has_a_default_and_can_be_said_in_two_ways() {
        let config = run("").expect("defaults");
        assert_eq!(config.listen, "127.0.0.1:9092");
        assert_eq!(config.wal(), PathBuf::from("karst-data/wal"));
        let config =
            run("--data-dir /d --listen=[::1]:1 --advertise h:2 --wal-size=2GiB --node-id 7 --check-invariants");
        let config = config.expect("all legal");
        assert_eq!(config.objects(), PathBuf::from("/d/objects"));
        assert_eq!(config.listen, "[::1]:1");
        assert_eq!(config.advertise, Some(Endpoint { host: "h".into(), port: 2 }));
        assert_eq!((config.wal_size, config.node), (Some(2 << 30), NodeId(7)));
        let bucket = run("--object-store s3://abc?endpoint=http://h:1").expect("legal").bucket.expect("given");
        assert_eq!((bucket.bucket.as_str(), bucket.path_style), ("abc", true));
        run("--log off").expect("no log at all");
        run("--log warn,karst_core::wal=trace,karst=DEBUG").expect("levels by module");
        assert!(config.check_invariants);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, named) in [
            ("--wal-sise 1", "no option --wal-sise"),
            ("serve", "no command \"serve\""),
            ("--listen", "--listen needs a value"),
            ("--listen 9092", "not HOST:PORT"),
            ("--listen ::1:9092", "not HOST:PORT"),
            ("--listen h:99999", "not HOST:PORT"),
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
            ("--wal-size 0", "not a size"),
            ("--wal-size 99999999999999TiB", "not a size"),
            ("--node-id 4294967295", "not a number"),
            ("--object-store ./objects", "does not begin with s3://"),
            ("--log a=b=c", "not a log filter"),
            ("--log inof", "not a log filter"),
            ("--log debug=", "not a log filter"),
            ("--log info,", "not a log filter"),
            ("--log=", "not a log filter"),
            ("--check-invariants=yes", "takes no value"),
        ] {
            let error = run(line).expect_err(line);
            assert!(error.contains(named), "{line}: {error}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for good in ["h:1", "a-b.c_d.example.:1", "127.0.0.1:1", "[::1]:1", "[fe80::1%eth0]:1"] {
            assert!(endpoint("--listen", good).is_ok(), "{good}");
        }
        let long = format!("{}:1", "a.".repeat(127));
        for bad in ["a b:1", " h:1", "h/x:1", "-h:1", "h\n:1", "h\u{e9}:1", "[::1%]:1", ".:1", ":1", &long] {
            assert!(endpoint("--listen", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        for (text, expected) in [("4096", 4096), ("1k", 1 << 10), ("3MiB", 3 << 20), ("1gib", 1 << 30)] {
            assert_eq!(bytes("--wal-size", text), Ok(expected));
        }
    }

    #[test]
    fn clients_are_told_something_they_can_connect_to() {
        let at = |line: &str, bound: &str| {
            run(line).expect("legal").advertised(bound.parse().expect("an address")).map(|to| to.to_string())
        };
        assert_eq!(at("--listen localhost:0", "127.0.0.1:4711"), Ok("localhost:4711".into()));
        assert_eq!(at("--listen [::1]:9092", "[::1]:9092"), Ok("[::1]:9092".into()));
        assert!(at("--listen 0.0.0.0:9092", "0.0.0.0:9092").is_err());
        assert_eq!(at("--listen 0.0.0.0:9092 --advertise h:1", "0.0.0.0:9092"), Ok("h:1".into()));
    }

    #[test]
    fn help_tells_every_option_and_exit_code() {
        let help = help();
        for option in [
            "--data-dir",
            "--listen",
            "--advertise",
            "--object-store",
            "--wal-size",
            "--node-id",
            "--log",
            "--check-invariants",
        ] {
            assert!(help.contains(option), "{option}");
        }
        for code in [64, 65, 66, 67, 68, 69, 70, 71, 72, 130] {
            assert!(help.contains(&format!("\n    {code}")), "{code}");
        }
    }
}

//! Questions to a running broker, and orders, for people without other tools.

mod groups;
mod status;
mod topics;
mod whom;

pub(crate) use status::get;

use crate::config::{Layers, UsageError, value};
use crate::failure::Failure;
use crate::flags::Flags;
use std::ffi::OsString;
use whom::Whom;

/// The text of `karst status --help`, `karst topics --help` and `karst groups --help`.
const HELP: &str = "\
karst status [--http HOST:PORT] [--json]
  How a broker is: its phase, and what is in its write-ahead log, memory and bucket. Exit code 1 if it does not serve.
  --http HOST:PORT        where it tells that [as the broker is configured: 127.0.0.1:9644]
  --json                  as JSON

karst topics list
karst topics describe [NAME...]       partitions with leader, first offset and end; without names, of all topics
karst topics create NAME... [--partitions N]
karst topics delete NAME...           with all records, at once and for good
karst groups list                     with state
karst groups describe [NAME...]       members with what they are assigned; committed offsets, ends and lag

  --broker HOST:PORT      which broker, by Kafka's protocol [as it is configured: 127.0.0.1:9092]
  --partitions N          of each new topic [1]

Without an address, all of them ask the broker that KARST_HTTP, KARST_LISTEN and KARST_CONFIG, or the file of --config
FILE, say.
";

/// Something that is asked of a running broker.
#[derive(Clone, Debug)]
pub enum Admin {
    /// What can be asked.
    Help,
    /// How it is.
    Status {
        /// Where its HTTP listener is.
        http: String,
        /// As JSON, and not as lines for people.
        json: bool,
    },
    /// About topics.
    Topics {
        /// Where it listens for Kafka clients.
        broker: String,
        /// What about them.
        order: TopicOrder,
    },
    /// About consumer groups.
    Groups {
        /// Where it listens for Kafka clients.
        broker: String,
        /// What about them.
        order: GroupOrder,
    },
}

/// What may be asked about consumer groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupOrder {
    /// Their names and states.
    List,
    /// Members, offsets and lag of these, or of all where none is named.
    Describe(Vec<String>),
}

/// What may be done with topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicOrder {
    /// Tell their names.
    List,
    /// Tell about the partitions of these, or of all where none is named.
    Describe(Vec<String>),
    /// Make them.
    Create {
        /// Their names.
        names: Vec<String>,
        /// How many partitions each gets.
        partitions: u32,
    },
    /// Remove them.
    Delete(Vec<String>),
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Told {
    /// What was asked for.
    Well(String),
    /// The same, of a broker that does not serve.
    Unwell(String),
}

impl Admin {
    /// Asks.
    ///
    /// # Errors
    /// Says what could not be done.
    pub fn run(&self) -> Result<Told, Failure> {
        match self {
            Self::Help => Ok(Told::Well(HELP.into())),
            Self::Status { http, json } => status::ask(http, *json),
            Self::Groups { broker, order } => groups::order(broker, order).map(Told::Well),
            Self::Topics { broker, order } => topics::order(broker, order).map(Told::Well),
        }
    }
}

/// Reads what follows `karst status`, `karst topics` or `karst groups`.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn parse(
    word: &str,
    arguments: impl Iterator<Item = OsString>,
    layers: Layers,
) -> Result<Admin, UsageError> {
    let (flags, whom) = (Flags::new(arguments), Whom::new(layers));
    match word {
        "status" => parse_status(flags, whom),
        "groups" => parse_groups(flags, whom),
        _ => parse_topics(flags, whom),
    }
}

fn parse_status(mut flags: Flags<impl Iterator<Item = OsString>>, mut whom: Whom) -> Result<Admin, UsageError> {
    let mut json = false;
    while let Some(flag) = flags.advance()? {
        match flag.as_str() {
            "--help" | "-h" => return Ok(Admin::Help),
            "--json" => json = true,
            "--http" => whom.is(address(&flag, flags.value()?)?),
            "--config" => whom.file(flags.value()?)?,
            _ => return Err(flags.unknown(|_| None)),
        }
    }
    Ok(Admin::Status { http: whom.http()?, json })
}

fn parse_topics(mut flags: Flags<impl Iterator<Item = OsString>>, mut whom: Whom) -> Result<Admin, UsageError> {
    let (mut words, mut partitions) = (Vec::new(), None);
    while let Some(flag) = flags.advance()? {
        match flag.as_str() {
            "--help" | "-h" => return Ok(Admin::Help),
            "--broker" => whom.is(address(&flag, flags.value()?)?),
            "--config" => whom.file(flags.value()?)?,
            "--partitions" => {
                let text = flags.value()?;
                let read = value::number(&text).and_then(|count| value::within(count, (1, 100_000), ""));
                partitions = Some(read.map_err(|what| UsageError(format!("{flag} {text:?} {what}")))? as u32);
            }
            flag if flag.starts_with('-') => return Err(flags.unknown(|_| None)),
            _ => words.push(flag),
        }
    }
    let mut words = words.into_iter();
    let Some(order) = words.next() else { return Ok(Admin::Help) };
    let names: Vec<String> = words.collect();
    let usage = |what: &str| Err(UsageError(format!("karst topics {order}: {what}; see karst topics --help")));
    let order = match (order.as_str(), names.is_empty(), partitions) {
        ("list", true, None) => TopicOrder::List,
        ("list", ..) => return usage("takes no names and no --partitions"),
        ("describe", _, None) => TopicOrder::Describe(names),
        ("create", false, partitions) => TopicOrder::Create { names, partitions: partitions.unwrap_or(1) },
        ("delete", false, None) => TopicOrder::Delete(names),
        ("create" | "delete", true, _) => return usage("which topic?"),
        ("describe" | "delete", ..) => return usage("takes no --partitions"),
        _ => return usage("there are list, describe, create and delete"),
    };
    Ok(Admin::Topics { broker: whom.kafka()?, order })
}

fn parse_groups(mut flags: Flags<impl Iterator<Item = OsString>>, mut whom: Whom) -> Result<Admin, UsageError> {
    let mut words = Vec::new();
    while let Some(flag) = flags.advance()? {
        match flag.as_str() {
            "--help" | "-h" => return Ok(Admin::Help),
            "--broker" => whom.is(address(&flag, flags.value()?)?),
            "--config" => whom.file(flags.value()?)?,
            flag if flag.starts_with('-') => return Err(flags.unknown(|_| None)),
            _ => words.push(flag),
        }
    }
    let order = match words.split_first() {
        None => return Ok(Admin::Help),
        Some((word, [])) if word == "list" => GroupOrder::List,
        Some((word, names)) if word == "describe" => GroupOrder::Describe(names.to_vec()),
        Some((word, _)) if word == "list" => return Err(UsageError("karst groups list takes no names".into())),
        Some(_) => return Err(UsageError("karst groups: there are list and describe".into())),
    };
    Ok(Admin::Groups { broker: whom.kafka()?, order })
}

fn address(flag: &str, value: String) -> Result<String, UsageError> {
    value::reachable(&value).map_err(|what| UsageError(format!("{flag} {value:?} {what}")))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Admin, String> {
        let mut words = line.split_whitespace().map(OsString::from);
        let word = words.next().expect("a command").into_string().expect("UTF-8");
        parse(&word, words, Layers::default()).map_err(|error| error.to_string())
    }

    /// Whom a command line asks, where the environment says this.
    fn asked(line: &str, environment: &[(&str, &str)]) -> Result<String, String> {
        let mut words = line.split_whitespace().map(OsString::from);
        let word = words.next().expect("a command").into_string().expect("UTF-8");
        let layers = Layers::new(environment.iter().map(|(name, value)| (name.into(), value.into())));
        match parse(&word, words, layers).map_err(|error| error.to_string())? {
            Admin::Status { http, .. } => Ok(http),
            Admin::Topics { broker, .. } | Admin::Groups { broker, .. } => Ok(broker),
            Admin::Help => panic!("help"),
        }
    }

    #[test]
    fn a_broker_is_asked_where_it_is_configured_to_be() {
        let moved = [("KARST_HTTP", "0.0.0.0:9700"), ("KARST_LISTEN", "[::]:9093")];
        assert_eq!(asked("status", &[]).as_deref(), Ok("127.0.0.1:9644"));
        assert_eq!(asked("status", &moved).as_deref(), Ok("127.0.0.1:9700"));
        assert_eq!(asked("topics list", &moved).as_deref(), Ok("[::1]:9093"));
        assert_eq!(asked("groups list", &moved).as_deref(), Ok("[::1]:9093"));
        assert_eq!(asked("status", &[("KARST_HTTP", "web.example:9700")]).as_deref(), Ok("web.example:9700"));
        assert_eq!(asked("status --http h:1", &moved).as_deref(), Ok("h:1"), "who says it is believed");
        assert_eq!(asked("topics list --broker h:1", &moved).as_deref(), Ok("h:1"));
        let off = asked("status", &[("KARST_HTTP", "off")]).expect_err("nobody is there");
        assert!(off.contains("is off"), "{off}");
        let wrong = asked("status", &[("KARST_HTPT", "h:1")]).expect_err("no such variable");
        assert!(wrong.contains("did you mean KARST_HTTP?"), "{wrong}");
        assert_eq!(asked("status --http h:1", &[("KARST_HTPT", "h:1")]).as_deref(), Ok("h:1"), "nothing is looked up");
        let missing = asked("status --config /nowhere/karst.toml", &[]).expect_err("there is no such file");
        assert!(missing.contains("/nowhere/karst.toml"), "{missing}");
    }

    #[test]
    fn orders_are_understood() {
        match read("topics create a b --partitions 3 --broker h:1").expect("legal") {
            Admin::Topics { broker, order } => {
                assert_eq!(broker, "h:1");
                assert_eq!(order, TopicOrder::Create { names: vec!["a".into(), "b".into()], partitions: 3 });
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(read("topics list"), Ok(Admin::Topics { order: TopicOrder::List, .. })));
        let groups = |line| match read(line) {
            Ok(Admin::Groups { order, .. }) => order,
            other => panic!("{other:?}"),
        };
        assert_eq!(groups("groups list"), GroupOrder::List);
        assert_eq!(groups("groups describe a --broker h:1"), GroupOrder::Describe(vec!["a".into()]));
        assert!(matches!(read("groups"), Ok(Admin::Help)));
        assert!(matches!(read("topics"), Ok(Admin::Help)));
        assert!(matches!(read("status --json"), Ok(Admin::Status { json: true, .. })));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, named) in [
            ("topics create", "which topic?"),
            ("topics delete", "which topic?"),
            ("topics list a", "takes no names"),
            ("topics describe a --partitions 2", "takes no --partitions"),
            ("topics drop a", "there are list, describe, create and delete"),
            ("topics create a --partitions 0", "out of range"),
            ("topics list --brokr h:1", "no option --brokr"),
            ("groups list a", "takes no names"),
            ("groups drop", "there are list and describe"),
            ("status --http off", "not HOST:PORT"),
            ("status now", "no command \"now\""),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}

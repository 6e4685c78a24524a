//! `karst wal`: what an operator does to a write-ahead log while no broker has it.

mod give_up;
mod registration;

use crate::admin::Told;
use crate::command;
use crate::config::{Config, Layers, UsageError};
use crate::disk::{Blanking, Content};
use crate::failure::Failure;
use crate::flags::Flags;
use crate::inspect;
use karst_core::id::WalUuid;
use std::ffi::OsString;

/// The text of `karst wal --help`.
const HELP: &str = "\
karst wal blank [--overwrite]   fills the beginning and the end of the WAL's device with zeros, so that a broker takes it
                                for new; says what it holds first, and does nothing without --overwrite
karst wal give-up UUID [--yes]  gives up the WAL of that name, which is lost for good: the broker may start with another
                                then, and what the lost one had and the bucket has not is gone. Says what that is about
                                first, and asks; with --yes it does not ask. Not while the broker runs, and not while the
                                WAL is there

  --wal-device URI        which device, as for the broker: block:/dev/nvme1n1 or file:PATH [file:DATA-DIR/wal]
  --data-dir DIR, --object-store URL, --node-id N, --config FILE and all others of the broker

To see what a WAL holds without touching it: karst inspect wal.
";

/// What may be done.
#[derive(Clone, Debug)]
pub enum WalOrder {
    /// Tell what can be done.
    Help,
    /// Make a device ready for a new WAL.
    Blank {
        /// Whether what it holds may go.
        consent: Consent,
        /// Where things are.
        config: Box<Config>,
    },
    /// Let a broker go on without a WAL that is lost.
    GiveUp {
        /// Which.
        lost: Lost,
        /// Whether what only it had may go.
        consent: Consent,
        /// Where things are, as the broker has them.
        config: Box<Config>,
    },
}

/// A WAL that is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost(pub WalUuid);

/// Whether something may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// It may.
    Given,
    /// Only if there is nothing to lose.
    Wanting,
}

impl WalOrder {
    /// Does it.
    ///
    /// # Errors
    /// Says what could not be done.
    pub fn run(&self) -> Result<Told, Failure> {
        match self {
            Self::Help => Ok(Told::Well(HELP.into())),
            Self::Blank { consent, config } => blank(*consent, config),
            Self::GiveUp { lost, consent, config } => give_up::run(*lost, *consent, config),
        }
    }
}

fn blank(consent: Consent, config: &Config) -> Result<Told, Failure> {
    let place = config.wal();
    let device = Blanking::open(&place).map_err(Failure::new)?;
    let content = device.content().map_err(|error| Failure::new(format_args!("cannot read {place}: {error}")))?;
    let holds = match content {
        Content::Zeros => return Ok(Told::Well(format!("{place} is blank\n"))),
        Content::Wal => format!("{place} holds a Karst WAL:\n{}", inspect::wal(&place, config)?),
        Content::Foreign(at) => format!("{place} holds something that is not a Karst WAL: byte {at} is not zero\n"),
    };
    match consent {
        Consent::Wanting => Ok(Told::Unwell(format!("{holds}Nothing was changed: --overwrite forgets all of that.\n"))),
        Consent::Given => {
            device.blank().map_err(|error| Failure::new(format_args!("cannot write to {place}: {error}")))?;
            Ok(Told::Well(format!("{holds}It is blank now.\n")))
        }
    }
}

/// Reads what follows `karst wal`.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn parse(
    mut flags: Flags<impl Iterator<Item = OsString>>,
    mut layers: Layers,
) -> Result<WalOrder, UsageError> {
    let (mut words, mut consent, mut agreed) = (Vec::new(), Consent::Wanting, Consent::Wanting);
    while let Some(flag) = flags.advance()? {
        match flag.as_str() {
            "--help" | "-h" => return Ok(WalOrder::Help),
            "--overwrite" => consent = Consent::Given,
            "--yes" => agreed = Consent::Given,
            flag if flag.starts_with('-') => command::key(&mut flags, &mut layers)?,
            _ => words.push(flag),
        }
    }
    let usage = |what: &str| Err(UsageError(format!("karst wal {what}; see karst wal --help")));
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(WalOrder::Help),
        ["blank", ..] if agreed == Consent::Given => usage("blank: there is --overwrite, and no --yes"),
        ["give-up", ..] if consent == Consent::Given => usage("give-up: there is --yes, and no --overwrite"),
        ["give-up", uuid] => {
            let Some(lost) = WalUuid::parse(uuid).map(Lost) else {
                return usage(&format!(
                    "give-up: {uuid:?} is no WAL's name, which the broker tells when it refuses to start"
                ));
            };
            Ok(WalOrder::GiveUp { lost, consent: agreed, config: Box::new(layers.load()?.config) })
        }
        ["give-up", ..] => usage("give-up: which WAL? The broker names it when it refuses to start"),
        ["blank"] => Ok(WalOrder::Blank { consent, config: Box::new(layers.load()?.config) }),
        ["blank", ..] => Err(UsageError("karst wal blank takes no names: see --wal-device".into())),
        _ => Err(UsageError("karst wal: there are blank and give-up; see karst wal --help".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WalDevice;

    fn read(line: &str) -> Result<WalOrder, String> {
        let flags = Flags::new(line.split_whitespace().map(OsString::from));
        parse(flags, Layers::new([])).map_err(|error| error.to_string())
    }

    #[test]
    fn orders_are_understood_and_mistakes_are_named() {
        match read("blank --wal-device block:/dev/sdz --overwrite").expect("legal") {
            WalOrder::Blank { consent, config } => {
                assert_eq!((consent, config.wal()), (Consent::Given, WalDevice::Block("/dev/sdz".into())));
            }
            other => panic!("{other:?}"),
        }
        const LOST: &str = "0b7c4e1a-5f52-4c0e-9a53-5d9f4b0d9c11";
        match read(&format!("give-up {LOST} --yes --node-id 3")).expect("legal") {
            WalOrder::GiveUp { lost: Lost(lost), consent, config } => {
                assert_eq!((lost.to_string(), consent, config.node.0), (LOST.into(), Consent::Given, 3));
            }
            other => panic!("{other:?}"),
        }
        let asks = read(&format!("give-up {LOST}"));
        assert!(matches!(asks, Ok(WalOrder::GiveUp { consent: Consent::Wanting, .. })));
        assert!(matches!(read("blank"), Ok(WalOrder::Blank { consent: Consent::Wanting, .. })));
        assert!(matches!(read(""), Ok(WalOrder::Help)));
        for (line, named) in [
            ("blank x", "takes no names"),
            ("erase", "there are blank and give-up"),
            ("blank --overwrit", "no option --overwrit"),
            ("blank --yes", "no --yes"),
            ("give-up", "which WAL?"),
            ("give-up 0b7c", "no WAL's name"),
            ("give-up a b", "which WAL?"),
            ("give-up x --overwrite", "no --overwrite"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}

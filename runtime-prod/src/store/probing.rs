//! Drives the probe of a store, on the thread that starts the broker.

use super::Submit;
use crate::clock::Clock;
use crate::signals::GiveUp;
use karst_core::limits::Limits;
use karst_core::machine::{Check, Effects, Inbox, Machine, Rng, Turn, TurnBudget};
use karst_core::store::probe::{Effect, Input, Probe, Report, Unfit};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How often a look is taken at whether the start is given up.
const LOOK: Duration = Duration::from_millis(100);

/// Whether the store keeps the contract. Takes as long as some hundred requests, and longer while it does not answer.
///
/// # Errors
/// Says why it can't be used.
pub fn probe(store: &dyn Submit, limits: &Limits, rng: Rng, give_up: &GiveUp) -> Result<Report, Unfit> {
    let clock = Clock::start();
    let turn = Turn::new(TurnBudget::default(), Check::Nothing);
    let mut probe = Probe::new(limits, rng);
    let (mut inbox, mut effects) = (Inbox::default(), Effects::default());
    let (tell, told) = channel();
    let mut stopping = false;
    inbox.push(Input::Start);
    loop {
        turn.run(&mut probe, clock.now(), &mut inbox, &mut effects, |_| {});
        for effect in effects.drain() {
            match effect {
                Effect::Store(id, call) => {
                    let tell = tell.clone();
                    // Nobody hears it only when the probe is over.
                    store.submit(call, Box::new(move |result| drop(tell.send(Input::Store(id, result)))));
                }
                Effect::Done(verdict) => return verdict,
            }
        }
        let due = probe.deadline().and_then(|due| clock.when(due.at));
        let pause = due.map_or(LOOK, |due| due.saturating_duration_since(Instant::now()).min(LOOK));
        if let Ok(input) = told.recv_timeout(pause) {
            inbox.push(input);
            told.try_iter().for_each(|input| inbox.push(input));
        }
        if give_up.is_asked() && !stopping {
            stopping = true;
            inbox.push(Input::Stop);
        }
    }
}

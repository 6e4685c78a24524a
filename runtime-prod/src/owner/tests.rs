use super::*;
use karst_core::machine::{Check, Instant as Mono, Now, TurnBudget};
use std::process::Command;
use std::sync::mpsc;

const TURN: Turn = Turn::new(TurnBudget { inputs: 16, effects: 64 }, Check::Invariants);

/// Echoes numbers, and says "late" once when it heard nothing for a while.
#[derive(Default)]
struct Echo {
    patience: Option<Duration>,
    due: Option<Mono>,
    handled: u64,
}

#[derive(Debug, Hash)]
enum Input {
    Number(u64),
    Tick,
}

#[derive(Debug, Hash, PartialEq, Eq)]
enum Effect {
    Number(u64),
    Late,
}

impl Machine for Echo {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        self.handled += 1;
        match input {
            Input::Number(number) => {
                self.due = self.patience.map(|by| now.mono.after(by));
                out.push(Effect::Number(number));
            }
            Input::Tick => {
                self.due = None;
                out.push(Effect::Late);
            }
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        self.due.map(|at| Deadline { at, reason: "late" })
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn invariants(&self) {
        assert!(self.handled != 13_000_000_007, "planted");
    }
}

struct Tell(mpsc::Sender<Effect>);

impl Perform<Effect> for Tell {
    fn perform(&mut self, effect: Effect) {
        let _ = self.0.send(effect);
    }
}

fn start(machine: Echo) -> (Address<Input>, mpsc::Receiver<Effect>, JoinHandle<()>) {
    let (tell, told) = mpsc::channel();
    let (address, receiver) = inbox();
    let thread = spawn("echo", receiver, machine, TURN, Clock::start(), Tell(tell), |_| {});
    (address, told, thread)
}

#[test]
fn every_senders_mail_arrives_once_and_in_order() {
    const EACH: u64 = 20_000;
    let (address, told, thread) = start(Echo::default());
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let address = address.clone();
            std::thread::spawn(move || {
                let mut batch = Vec::new();
                for number in 0..EACH {
                    batch.push(Input::Number(sender * EACH + number));
                    if number % 7 == 0 {
                        address.send_all(&mut batch);
                    } else if number % 11 == 0 {
                        address.send_all(&mut batch);
                        std::thread::yield_now();
                    }
                }
                address.send_all(&mut batch);
            })
        })
        .collect();
    drop(address);
    senders.into_iter().for_each(|sender| sender.join().expect("senders don't fail"));
    thread.join().expect("ends when nobody can send any more");
    let mut next = [0; 4];
    for effect in told {
        let Effect::Number(number) = effect else { panic!("nobody asked for the time") };
        let (sender, number) = ((number / EACH) as usize, number % EACH);
        assert_eq!(number, next[sender], "of sender {sender}");
        next[sender] += 1;
    }
    assert_eq!(next, [EACH; 4]);
}

#[test]
fn a_deadline_wakes_the_machine_once_and_not_early() {
    let patience = Duration::from_millis(30);
    let (address, told, _thread) = start(Echo { patience: Some(patience), ..Echo::default() });
    let asked = Instant::now();
    address.send(Input::Number(1));
    assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok(Effect::Number(1)));
    assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok(Effect::Late));
    assert!(asked.elapsed() >= patience);
    assert!(told.recv_timeout(Duration::from_millis(50)).is_err(), "once is enough");
}

#[test]
fn an_idle_owner_sleeps() {
    let (address, told, _thread) = start(Echo::default());
    address.send(Input::Number(1));
    told.recv().expect("awake");
    let until = Instant::now() + Duration::from_secs(5);
    while !address.0.lock().reader_sleeps {
        assert!(Instant::now() < until, "it never sleeps");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_sleeping_owner_ends_when_nobody_can_send_any_more() {
    let (address, _told, thread) = start(Echo::default());
    let other = address.clone();
    drop(address);
    std::thread::sleep(Duration::from_millis(50));
    assert!(!thread.is_finished());
    drop(other);
    let until = Instant::now() + Duration::from_secs(5);
    while !thread.is_finished() {
        assert!(Instant::now() < until, "it sleeps for ever");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_panic_in_an_owner_ends_the_process() {
    let me = std::env::current_exe().expect("tests have a path");
    let child = Command::new(me)
        .args(["owner::tests::child_with_a_panicking_owner", "--exact", "--ignored", "--nocapture"])
        .output()
        .expect("the test binary starts");
    let said = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.code(), Some(70), "{said}");
    assert!(said.contains("planted") && said.contains("internal error in doomed"), "{said}");
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn child_with_a_panicking_owner() {
    let (address, receiver) = inbox();
    let (tell, _told) = mpsc::channel();
    let machine = Echo { handled: 13_000_000_006, ..Echo::default() };
    let thread = spawn("doomed", receiver, machine, TURN, Clock::start(), Tell(tell), |_| {});
    address.send(Input::Number(1));
    let _ = thread.join();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn an_idle_owner_that_is_woken_is_looked_at() {
    let (address, receiver) = inbox();
    let (tell, _told) = mpsc::channel();
    let (looked, looks) = mpsc::channel();
    let look = move |echo: &Echo| {
        let _ = looked.send(echo.handled);
    };
    let thread = spawn("idle", receiver, Echo::default(), TURN, Clock::start(), Tell(tell), look);
    let next = || looks.recv_timeout(Duration::from_secs(10)).expect("a look");
    assert_eq!(next(), 0, "after the first turn");
    assert!(looks.recv_timeout(Duration::from_millis(50)).is_err(), "it sleeps");
    address.wake();
    assert_eq!(next(), 0, "it had nothing to do");
    address.send(Input::Number(7));
    assert_eq!(next(), 1);
    drop(address);
    thread.join().expect("it ends");
}

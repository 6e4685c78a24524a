//! `karst-sim run`: many seeds, on several threads.
//!
//! ```text
//!   seeds ──► pool ──► totals, defects ──► outputs: summary, JSON, JUnit, plans
//!                            │
//!                          state, saved every few seconds: what an interrupted campaign goes on from
//! ```

mod defects;
mod junit;
mod outputs;
mod pool;
mod seeds;
mod shrunk;
mod state;
mod totals;

use super::args::{Args, Period, UsageError};
use super::exit::Verdict;
use crate::plan::{Plan, Profile};
use crate::world::{self, Options, Report};
use karst_runtime_sim::seed::Seed;
use outputs::Outputs;
use pool::Work;
use seeds::{Done, Seeds, Shard};
use state::State;
use std::fs;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(super) use seeds::seed_of_commit;

/// What was asked for.
#[derive(Debug)]
struct Campaign {
    seeds: Seeds,
    profile: Profile,
    profile_name: String,
    jobs: usize,
    lasts: Option<Duration>,
    stop: Stop,
    require_marks: bool,
    /// How long each defect is shrunk.
    shrink: Option<Duration>,
}

/// When a campaign ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// After its last seed.
    AtEnd,
    /// After the first seed that fails, and those under way.
    AtFailure,
}

/// How long a defect is shrunk.
const SHRINK: Period = Period(Duration::from_secs(60));

/// How often its state is saved and its progress shown.
const PAUSE: Duration = Duration::from_secs(2);

pub(super) fn main(mut args: Args) -> Result<Verdict, UsageError> {
    let mut outputs = Outputs::parse(&mut args)?;
    let campaign = Campaign::parse(&mut args)?;
    args.end()?;
    if campaign.shrink.is_some() && !outputs.saves_plans() {
        return Err(UsageError("--shrink saves what it finds: --plans DIR says where".into()));
    }
    let mut state = campaign.begin(&outputs)?;
    let stop = stop_by_signal();
    let began = Began::now(&state);
    campaign.play(&mut state, &mut outputs, &began, &stop);
    began.measure(&mut state);
    let different = campaign.run_defects_again(&state);

    print!("{}{}", state.totals.text(), state.defects.text(&campaign.profile_name));
    outputs.finish(&campaign, &state, &stop);
    for seed in &different {
        println!("seed {seed} failed, and ran differently the second time");
    }
    if let Some(why) = outputs.failed() {
        eprintln!("karst-sim: {why}");
    }
    let interrupted = stop.load(Ordering::Relaxed);
    let verdicts = [
        (interrupted, Verdict::Interrupted),
        (campaign.require_marks && !interrupted && !state.totals.unreached().is_empty(), Verdict::Unreached),
        (outputs.failed().is_some(), Verdict::Unsaved),
        (!different.is_empty(), Verdict::Different),
    ];
    let verdicts = verdicts.into_iter().filter_map(|(holds, verdict)| holds.then_some(verdict));
    let worst = verdicts.chain(state.defects.iter().map(|defect| defect.verdict)).max();
    Ok(worst.unwrap_or(Verdict::Passed))
}

/// Runs every seed on one of the threads; reports arrive in any order.
pub(super) fn for_each(seeds: Range<u64>, profile: Profile, jobs: usize, seen: impl FnMut(u64, Report)) {
    let (seeds, done) = (Seeds { range: seeds, shard: Shard::WHOLE }, Done::default());
    let (stop, is_enough) = (&AtomicBool::new(false), &AtomicBool::new(false));
    pool::run(&Work { seeds: &seeds, profile, jobs, done: &done, until: None, stop, is_enough }, seen);
}

impl Campaign {
    fn parse(args: &mut Args) -> Result<Self, UsageError> {
        let profile = args.profile()?;
        let default_jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = args.jobs()?.unwrap_or(default_jobs);
        let lasts: Option<Period> = args.value("--for")?;
        let range = args.seeds_of_campaign(lasts)?;
        let shard = args.value("--shard")?.unwrap_or(Shard::WHOLE);
        let stop = if args.flag("--until-failure") { Stop::AtFailure } else { Stop::AtEnd };
        let require_marks = args.flag("--require-marks");
        let shrink = args.flag_or_equals("--shrink", SHRINK)?;
        let (seeds, profile_name) = (Seeds { range, shard }, profile.name().to_owned());
        if seeds.count() == 0 {
            return Err(UsageError(format!("there is no seed in {seeds}: nothing would be tried")));
        }
        let [lasts, shrink] = [lasts, shrink].map(|period| period.map(|period| period.0));
        Ok(Self { seeds, profile, profile_name, jobs, lasts, stop, require_marks, shrink })
    }

    /// Where an earlier run stopped, or the beginning.
    fn begin(&self, outputs: &Outputs) -> Result<State, UsageError> {
        let what = format!("{}, seeds {}", self.profile_name, self.seeds);
        match outputs.load_state()? {
            Some(state) if state.what != what => {
                let other = state.what;
                Err(UsageError(format!("--resume: the file is of another campaign ({other}) than this one ({what})")))
            }
            Some(state) => Ok(state),
            None => Ok(State::new(what)),
        }
    }

    fn play(&self, state: &mut State, outputs: &mut Outputs, began: &Began, stop: &AtomicBool) {
        let (done, is_enough) = (state.done.clone(), AtomicBool::new(false));
        let total = self.seeds.is_bounded().then(|| self.seeds.count());
        let mut shown = Instant::now();
        let work = Work {
            seeds: &self.seeds,
            profile: self.profile,
            jobs: self.jobs,
            done: &done,
            until: self.lasts.map(|lasts| began.at + lasts),
            stop,
            is_enough: &is_enough,
        };
        pool::run(&work, |seed, report| {
            let position = self.seeds.position(seed).expect("only its own seeds are run");
            state.done.insert(position);
            state.totals.add(&report);
            if state.defects.add(seed, &report)
                && let Some(failure) = &report.failure
            {
                println!("FAIL seed {seed}: {failure}");
            }
            if report.failure.is_some() && self.stop == Stop::AtFailure {
                is_enough.store(true, Ordering::Relaxed);
            }
            outputs.add_line(seed, &self.profile_name, &report);
            if shown.elapsed() >= PAUSE {
                shown = Instant::now();
                began.measure(state);
                outputs.save_state(state);
                eprintln!("{}", state.totals.progress(total));
            }
        });
    }

    /// Seeds of defects whose second run is another: what they show is not to be trusted.
    fn run_defects_again(&self, state: &State) -> Vec<u64> {
        let quickest = state.defects.iter().map(|defect| &defect.quickest);
        let differs = |seed: u64, trace: u64| {
            world::run(Plan::from_seed(Seed(seed), self.profile), Options::default()).trace != trace
        };
        quickest.filter(|one| differs(one.seed, one.trace)).map(|one| one.seed).collect()
    }
}

/// When this run of a campaign began, and what earlier ones took.
struct Began {
    at: Instant,
    cpu: Duration,
    elapsed_before: Duration,
    cpu_before: Duration,
}

impl Began {
    fn now(state: &State) -> Self {
        let (elapsed_before, cpu_before) = (state.totals.elapsed, state.totals.cpu);
        Self { at: Instant::now(), cpu: cpu_time(), elapsed_before, cpu_before }
    }

    fn measure(&self, state: &mut State) {
        state.totals.elapsed = self.elapsed_before + self.at.elapsed();
        state.totals.cpu = self.cpu_before + cpu_time().saturating_sub(self.cpu);
    }
}

/// Set by the first SIGINT or SIGTERM; the second one ends the process at once.
pub(super) fn stop_by_signal() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let by_force = signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone());
        let gently = by_force.and_then(|_| signal_hook::flag::register(signal, stop.clone()));
        if let Err(error) = gently {
            eprintln!("karst-sim: signal {signal} will end this without a result: {error}");
        }
    }
    stop
}

/// CPU time of this process so far, user and system. Zero where the system does not tell.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold anything; the fields that matter are the 12th and 13th after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

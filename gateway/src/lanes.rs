//! What one user asks to be done in one room is done in the order in which it came, also while its holder changes.
//!
//! As long as each first try is answered, the bus and the holder keep the order. But in a hand-over requests may find nobody, or the
//! wrong one, or get lost, and are asked again: each by itself, after pauses of its own, they would come in any order, and what
//! comes meanwhile before all of them. So once one of a user and room has to be asked again, all that come behind it wait; those
//! under way are waited for; and then they are asked in their order, the next one when the one before has its answer. Once there
//! was one, all that wait are asked, one behind the other without waiting for theirs.
//!
//! That one got lost on its way is known only after a while. So what comes behind one that is not answered for [`QUIET_MAX`] waits
//! for it, too.
//!
//! Memory: what waits here is under way for somebody, and bounded with what they may have under way.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubbub_core::ids::{RoomId, UserId};
use hubbub_core::map::FastMap;
use hubbub_core::ports::bus::Payload;
use hubbub_wire::tier::act::Told;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::again::{Again, Missed, Tried};
use crate::error::Failure;

/// For how long a request may be unanswered before what comes behind it waits: longer than a holder takes that is not overwhelmed,
/// shorter than most hand-overs.
const QUIET_MAX: Duration = Duration::from_millis(100);

/// Who asks for something to be done, and where.
pub(crate) type Lane = (RoomId, UserId);

type Answered = Result<(Told, Payload), Failure>;

/// The lanes in which something is under way.
#[derive(Default)]
pub(crate) struct Lanes {
    /// The places of requests in the order of all.
    places: AtomicU64,
    states: Mutex<States>,
}

type States = FastMap<Lane, State>;

#[derive(Default)]
struct State {
    /// Places of requests that are asked and will be asked again if there is no answer, and since when.
    under_way: Vec<(u64, Instant)>,
    waiting: BTreeMap<u64, Waiting>,
    /// The task that has them asked, while there is one: told when nothing is under way any more.
    task: Option<Arc<Notify>>,
}

struct Waiting {
    request: Box<Again>,
    /// What its last try lacked; `None` if it was not tried since the holder last answered.
    missed: Option<Missed>,
    then: Box<dyn FnOnce(Answered) + Send>,
}

/// What the task of a lane is to do.
enum Next {
    /// Ask it, and go on at once.
    Try(u64, Waiting),
    /// Ask it until it is answered.
    Ask(Waiting),
    /// Wait until nothing is under way.
    Wait,
    Over,
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, States> {
        // Nothing that can panic happens under the lock.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, behind all of the lane that came before, and has `then` called with the answer. To be called within a runtime.
    pub(crate) fn ask(
        self: &Arc<Self>,
        lane: Lane,
        request: Again,
        then: impl FnOnce(Answered) + Send + 'static,
    ) {
        let place = self.places.fetch_add(1, Ordering::Relaxed);
        let mut states = self.lock();
        let state = states.entry(lane.clone()).or_default();
        if state.is_stopped(request.began) {
            let waiting = Waiting { request: Box::new(request), missed: None, then: Box::new(then) };
            return self.wait(states, lane, place, waiting);
        }
        state.begin(place, &request, request.began);
        drop(states);
        self.try_once(lane, place, request, then);
    }

    /// Makes one try of a request that is noted as under way.
    fn try_once(
        self: &Arc<Self>,
        lane: Lane,
        place: u64,
        request: Again,
        then: impl FnOnce(Answered) + Send + 'static,
    ) {
        let lanes = self.clone();
        request.try_then(move |tried| {
            let mut states = lanes.lock();
            match tried {
                Tried::Done(answer) => {
                    if let Entry::Occupied(mut state) = states.entry(lane) {
                        state.get_mut().end(place);
                        if state.get().is_over() {
                            state.remove();
                        }
                    }
                    drop(states);
                    then(answer);
                }
                Tried::Missed(request, missed) => {
                    states.get_mut(&lane).into_iter().for_each(|state| state.end(place));
                    let waiting = Waiting { request, missed: Some(missed), then: Box::new(then) };
                    lanes.wait(states, lane, place, waiting);
                }
            }
        });
    }

    /// Has it asked when it is its turn.
    fn wait(self: &Arc<Self>, mut states: MutexGuard<'_, States>, lane: Lane, place: u64, waiting: Waiting) {
        let state = states.entry(lane.clone()).or_default();
        state.waiting.insert(place, waiting);
        if state.task.is_none() {
            self.start(state, lane);
        }
    }

    fn start(self: &Arc<Self>, state: &mut State, lane: Lane) {
        let quiet = Arc::<Notify>::default();
        state.task = Some(quiet.clone());
        let lanes = self.clone();
        tokio::spawn(async move {
            // What an answer is told to may panic: the others are answered all the same.
            let run = || tokio::spawn(lanes.clone().run(lane.clone(), quiet.clone()));
            while run().await.is_err_and(|end| end.is_panic()) {
                tracing::error!(room = %lane.0, "what is told an answer panicked");
            }
        });
    }

    /// Has all that waits in a lane answered, until nothing does.
    async fn run(self: Arc<Self>, lane: Lane, quiet: Arc<Notify>) {
        let mut is_answered = false;
        loop {
            match self.next(&lane, is_answered) {
                Next::Try(place, Waiting { request, then, .. }) => {
                    self.try_once(lane.clone(), place, *request, then);
                }
                Next::Ask(Waiting { request, missed, then }) => {
                    let answer = request.ask(missed).await;
                    is_answered = answer.is_ok();
                    if is_answered {
                        self.begin_anew(&lane);
                    }
                    then(answer);
                }
                Next::Wait => {
                    quiet.notified().await;
                    is_answered = false;
                }
                Next::Over => return,
            }
        }
    }

    fn next(&self, lane: &Lane, is_answered: bool) -> Next {
        let mut states = self.lock();
        let Some(state) = states.get_mut(lane) else { return Next::Over };
        let Some(first) = state.waiting.first_entry() else {
            state.task = None;
            if state.is_over() {
                states.remove(lane);
            }
            return Next::Over;
        };
        if is_answered && first.get().missed.is_none() {
            let (place, waiting) = first.remove_entry();
            state.begin(place, &waiting.request, Instant::now());
            return Next::Try(place, waiting);
        }
        match state.under_way.is_empty() {
            true => Next::Ask(first.remove()),
            false => Next::Wait,
        }
    }

    /// The holder answers: what others lacked before that is no matter now.
    fn begin_anew(&self, lane: &Lane) {
        if let Some(state) = self.lock().get_mut(lane) {
            state.waiting.values_mut().for_each(|waiting| waiting.missed = None);
        }
    }
}

impl State {
    fn begin(&mut self, place: u64, request: &Again, now: Instant) {
        if request.twice {
            self.under_way.push((place, now));
        }
    }

    fn end(&mut self, place: u64) {
        self.under_way.retain(|(of, _)| *of != place);
        if let Some(task) = self.task.as_ref().filter(|_| self.under_way.is_empty()) {
            task.notify_one();
        }
    }

    /// Whether nothing more may be asked before something was answered.
    fn is_stopped(&self, now: Instant) -> bool {
        let is_quiet = |(_, since): &(u64, Instant)| now.duration_since(*since) > QUIET_MAX;
        self.task.is_some() || self.under_way.first().is_some_and(is_quiet)
    }

    fn is_over(&self) -> bool {
        self.under_way.is_empty() && self.waiting.is_empty() && self.task.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hubbub_adapters::bus::LocalBus;
    use hubbub_core::ids::{Key, Millis, Partitions, Seq, User};
    use hubbub_core::limits::Content;
    use hubbub_core::ports::bus::{Bus, Message, Reply, Subject, Subscription};
    use hubbub_core::room::{Answer, Verb};
    use hubbub_wire::tier::act::{Ask, What};
    use hubbub_wire::tier::parcel;
    use proptest::prelude::*;
    use tokio::time::{Instant, advance, sleep, timeout};

    use super::*;
    use crate::actions::Asker;

    /// A holder of the only partition that can be told how to be, and what it was asked, by whom, in its order.
    struct Holder {
        is_closed: bool,
        /// So many are answered at once.
        answers: usize,
        decided: Vec<(String, String)>,
        unanswered: Vec<Reply>,
    }

    impl Holder {
        fn answer_all(&mut self, told: &Told) {
            self.unanswered.drain(..).for_each(|reply| reply.send(parcel::pack(told)));
        }
    }

    const DONE: Told = Told::Done(Answer::Kept { seq: Seq(1), at: Some(Millis(1)) });

    struct World {
        bus: Arc<LocalBus>,
        asker: Asker,
        holder: Arc<Mutex<Holder>>,
        serving: Option<Subscription>,
    }

    impl World {
        fn new() -> Self {
            let bus = Arc::new(LocalBus::default());
            let asker = Asker::new(bus.clone(), Partitions::new(1).unwrap(), Duration::from_secs(5), None);
            let holder =
                Holder { is_closed: false, answers: usize::MAX, decided: Vec::new(), unanswered: Vec::new() };
            Self { bus, asker, holder: Arc::new(Mutex::new(holder)), serving: None }
        }

        async fn serve(&mut self) {
            let (holder, subject) = (self.holder.clone(), Subject::Act(self.asker.partition(&room("a"))));
            let serve = move |Message { mut payload, .. }: Message, reply: Reply| {
                let mut holder = holder.lock().unwrap();
                let Ask { room, what, .. } = parcel::header(&mut payload).unwrap();
                let What::Do { user, verb } = what else { panic!("{what:?}") };
                if holder.is_closed {
                    return reply.send(parcel::pack(&Told::Moved));
                }
                let what = match verb {
                    Verb::Send { key, .. } => key.unwrap().as_str().to_owned(),
                    verb => format!("{verb:?}"),
                };
                holder.decided.push((format!("{} in {room}", user.id), what));
                match holder.answers.checked_sub(1) {
                    Some(left) => {
                        holder.answers = left;
                        reply.send(parcel::pack(&DONE));
                    }
                    None => holder.unanswered.push(reply),
                }
            };
            self.serving = Some(self.bus.serve(subject, Arc::new(serve)).await.unwrap());
        }

        fn ask(&self, user: &str, in_room: &str, verb: Verb) -> impl Future<Output = bool> + use<> {
            let user = User { id: UserId::parse(user).unwrap(), name: user.into() };
            let answer = self.asker.act(room(in_room), user, verb, None);
            async move { answer.await.is_ok() }
        }

        fn decided(&self, lane: &str) -> Vec<String> {
            let holder = self.holder.lock().unwrap();
            holder.decided.iter().filter(|(of, _)| of == lane).map(|(_, what)| what.clone()).collect()
        }
    }

    fn room(id: &str) -> RoomId {
        RoomId::parse(id).unwrap()
    }

    fn send(key: &str) -> Verb {
        let content = Content::text(key.into()).unwrap();
        Verb::Send { content, key: Key::parse(key).ok(), after: None }
    }

    fn names(of: &str, count: usize) -> Vec<String> {
        (0..count).map(|n| format!("{of} {n}")).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_found_nobody_is_done_in_its_order_and_what_comes_meanwhile_behind_it() {
        let mut world = World::new();
        let mut answers = vec![world.ask("ann", "a", Verb::Join)];
        answers.extend(names("early", 20).iter().map(|key| world.ask("ann", "a", send(key))));
        sleep(Duration::from_millis(500)).await;
        world.serve().await;
        answers.extend(names("late", 20).iter().map(|key| world.ask("ann", "a", send(key))));
        // Others don't have to wait.
        answers.extend([world.ask("bob", "a", send("bob's")), world.ask("ann", "b", send("elsewhere"))]);
        assert_eq!(world.decided("bob in a"), ["bob's"]);
        assert_eq!(world.decided("ann in b"), ["elsewhere"]);
        for answer in answers {
            assert!(answer.await);
        }
        let expected = [vec!["Join".to_owned()], names("early", 20), names("late", 20)].concat();
        assert_eq!(world.decided("ann in a"), expected);
        assert!(world.asker.lanes().lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn after_one_answer_none_waits_for_that_of_another() {
        let mut world = World::new();
        world.serve().await;
        world.holder.lock().unwrap().answers = 0;
        let mut answers: Vec<_> =
            names("early", 20).iter().map(|key| world.ask("ann", "a", send(key))).collect();
        let holds = |is_closed| {
            let mut holder = world.holder.lock().unwrap();
            (holder.is_closed, holder.answers) = (is_closed, 1);
            holder.decided.clear();
            holder.answer_all(&Told::Moved);
        };
        holds(true);
        answers.extend(names("late", 20).iter().map(|key| world.ask("ann", "a", send(key))));
        sleep(Duration::from_millis(300)).await;
        holds(false);
        sleep(Duration::from_millis(300)).await;
        assert_eq!(world.decided("ann in a"), [names("early", 20), names("late", 20)].concat());
        world.holder.lock().unwrap().answer_all(&DONE);
        for answer in answers {
            assert!(answer.await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_behind_one_that_got_lost_waits_until_that_is_known() {
        let mut world = World::new();
        world.serve().await;
        world.holder.lock().unwrap().answers = 1;
        let first = [world.ask("ann", "a", send("1")), world.ask("ann", "a", send("lost"))];
        {
            let mut holder = world.holder.lock().unwrap();
            holder.answers = usize::MAX;
            holder.decided.pop();
        }
        sleep(QUIET_MAX / 2).await;
        assert!(world.ask("ann", "a", send("2")).await, "that one got lost can't be known yet");
        sleep(QUIET_MAX / 2 + Duration::from_millis(1)).await;
        let behind = [world.ask("ann", "a", send("3")), world.ask("ann", "a", send("4"))];
        assert!(world.ask("bob", "a", send("bob's")).await);
        assert_eq!(world.decided("ann in a"), ["1", "2"]);
        for answer in first.into_iter().chain(behind) {
            assert!(answer.await);
        }
        assert_eq!(world.decided("ann in a"), ["1", "2", "lost", "3", "4"]);
        assert!(world.asker.lanes().lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_can_not_be_told_keeps_no_other_from_being_told() {
        let mut world = World::new();
        let user = User { id: UserId::parse("ann").unwrap(), name: "Ann".into() };
        world.asker.act_then(room("a"), user, send("1"), None, |_| panic!("it can't be told"));
        let behind = world.ask("ann", "a", send("2"));
        sleep(Duration::from_millis(10)).await;
        world.serve().await;
        let told = timeout(Duration::from_secs(60), behind).await;
        assert_eq!(told, Ok(true), "within its time");
        assert!(world.ask("ann", "a", send("3")).await);
        assert_eq!(world.decided("ann in a"), ["1", "2", "3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_behind_another_is_answered_in_its_own_time() {
        let world = World::new();
        let began = Instant::now();
        let first = world.ask("ann", "a", send("1"));
        sleep(Duration::from_secs(1)).await;
        let second = world.ask("ann", "a", send("2"));
        assert!(!first.await && began.elapsed() < Duration::from_millis(5_200));
        assert!(!second.await && began.elapsed() < Duration::from_millis(6_200));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Ask(usize),
        /// It holds the partition no more, and says so.
        Close,
        Leave,
        Serve,
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0usize..3).prop_map(Step::Ask),
            1 => Just(Step::Close),
            1 => Just(Step::Leave),
            2 => Just(Step::Serve),
            4 => (0u64..60).prop_map(Step::Pass),
        ]
    }

    proptest! {
        #[test]
        fn whatever_holders_do_each_lane_keeps_its_order(steps in prop::collection::vec(step(), 1..80)) {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let lanes = [("ann", "a"), ("ann", "b"), ("bob", "a")];
                let mut asked = [0; 3];
                let mut answers = Vec::new();
                let mut world = World::new();
                for step in steps {
                    match step {
                        Step::Ask(lane) => {
                            asked[lane] += 1;
                            let (user, room) = lanes[lane];
                            answers.push(world.ask(user, room, send(&format!("{:03}", asked[lane]))));
                        }
                        Step::Close => world.holder.lock().unwrap().is_closed = true,
                        Step::Leave => world.serving = None,
                        Step::Serve => {
                            world.holder.lock().unwrap().is_closed = false;
                            world.serve().await;
                        }
                        Step::Pass(ms) => advance(Duration::from_millis(ms)).await,
                    }
                }
                world.holder.lock().unwrap().is_closed = false;
                world.serve().await;
                for answer in answers {
                    prop_assert!(answer.await);
                }
                for (n, (user, room)) in lanes.iter().enumerate() {
                    let expected: Vec<_> = (1..=asked[n]).map(|n| format!("{n:03}")).collect();
                    prop_assert_eq!(world.decided(&format!("{user} in {room}")), expected);
                }
                Ok(())
            })?;
        }
    }
}

//! The store on a database that speaks CQL: ScyllaDB, or Apache Cassandra.
//!
//! In reading order: how it is reached (`connect`), the tables (`schema`, `tablets`) and `statements`; the `log`, whose fence is claimed by
//! conditional statements (`lwt`); the projections, written (`project`) and read (`lists`); what is kept of a log (`retention`); `accounts`.
//!
//! Every write is durable on a quorum of the replicas in this datacenter when it returns; what a power cut of a majority at once
//! survives depends on the database's commit log (`commitlog_sync: batch` for all of it). The claims are agreed on by the replicas of all
//! datacenters, the plain reads and writes only here, so the workers of one cluster must be in one datacenter.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Instant, SystemTime};

use hubbub_core::entry::Entry;
use hubbub_core::ids::{Epoch, LogId, Millis, Partition, Partitions, RoomId, Seq, UserId};
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::accounts::{AccountRow, AccountStore, AccountStoreError};
use hubbub_core::ports::bans::{Ban, Bans};
use hubbub_core::ports::revocations::{Revocation, Revocations};
use hubbub_core::ports::store::{
    Append, Appended, DirectoryCursor, JoinedRoom, MemberRow, Projection, Read, RoomRow, Segment, Store,
    Stored, Trim,
};
use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use scylla::client::session::Session;
use tokio::runtime::Handle;

mod accounts;
mod bans;
mod connect;
mod failure;
mod lists;
mod log;
mod lwt;
mod project;
mod retention;
mod revocations;
mod schema;
mod statements;
mod tablets;

use connect::patiently;
pub use connect::{CqlOptions, CqlTls};
pub use failure::CqlOpenError;
use failure::{damaged, unavailable};
use statements::Statements;

/// How long the database took, by what was asked of it.
const SECONDS: &str = "hubbub_cql_seconds";
/// What the database did not do, by what was asked of it.
const ERRORS: &str = "hubbub_cql_errors_total";

/// What the log's id is kept as.
const LOG_ID: &str = "log_id";

/// A store on a database that speaks CQL.
pub struct CqlStore {
    db: Arc<Db>,
    log_id: LogId,
    /// The one that the driver is at home in: whoever appends may have none.
    runtime: Handle,
}

/// The connections, and what is said over them.
struct Db {
    session: Session,
    statements: Statements,
    /// The layout that the keyspace has at least, as far as this process knows: so that it says so once, and not for each entry.
    layout: AtomicU32,
}

impl CqlStore {
    /// Connects, makes the schema if it is not there, and reads which store this is. Waits for the database, however long it takes.
    ///
    /// # Errors
    /// When the settings do not lead to a store of this cluster, it is a later version's, or it is damaged.
    pub async fn open(options: &CqlOptions) -> Result<Self, CqlOpenError> {
        describe_histogram!(SECONDS, Unit::Seconds, "how long the database took, by what was asked of it");
        describe_counter!(ERRORS, Unit::Count, "what the database did not do, by what was asked of it");
        // Boxed: it is large, and whoever waits for it need not be.
        Box::pin(Self::opened(options)).await
    }

    /// The same where a cluster has begun before. Without one nothing is made, and there is `None`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_existing(options: &CqlOptions) -> Result<Option<Self>, CqlOpenError> {
        let has_begun = async || {
            let session = connect::connect(options).await?;
            Ok(schema::has_begun(&session, &options.keyspace).await?)
        };
        match Box::pin(patiently(&options.nodes, has_begun)).await? {
            true => Self::open(options).await.map(Some),
            false => Ok(None),
        }
    }

    async fn opened(options: &CqlOptions) -> Result<Self, CqlOpenError> {
        let db = patiently(&options.nodes, async || Self::prepare(options).await).await?;
        let (log_id, cluster, version) = patiently(&options.nodes, async || {
            let candidate = uuid::Uuid::new_v4().as_bytes().to_vec();
            let log_id = accounts::shared(&db, LOG_ID, candidate).await?;
            let cluster = accounts::shared(&db, "cluster", options.cluster.clone().into_bytes()).await?;
            let version = schema::VERSION.to_be_bytes().to_vec();
            Ok((log_id, cluster, accounts::shared(&db, schema::LAYOUT, version).await?))
        })
        .await?;
        schema::check_version(&version)?;
        if cluster != options.cluster.as_bytes() {
            let theirs = String::from_utf8_lossy(&cluster);
            let (keyspace, ours) = (&options.keyspace, &options.cluster);
            return Err(CqlOpenError::Setting(format!(
                "the keyspace {keyspace} is the store of the cluster {theirs:?}, and this node is of {ours:?}: \
                 give it a keyspace of its own by --cql-keyspace (CQL_KEYSPACE), or the cluster's name by --cluster (CLUSTER)"
            )));
        }
        Ok(Self { db: Arc::new(db), log_id: parse_log_id(log_id)?, runtime: Handle::current() })
    }

    /// Gives the log a new id: what readers saw of it before is another log's from now on. Processes that run know the old one
    /// until they begin anew, and see by [`current_log`](Self::current_log) that they have to.
    ///
    /// # Errors
    /// `Unavailable`, and then it may have been done.
    pub async fn renew_log(&self) -> Stored<LogId> {
        let log_id = LogId(uuid::Uuid::new_v4().as_u128());
        let value = log_id.0.to_be_bytes().to_vec();
        let changed = lwt::run(&self.db.session, &self.db.statements.change_shared, (value, LOG_ID)).await?;
        match changed.applied {
            true => Ok(log_id),
            false => Err(damaged("the log's id is missing")),
        }
    }

    /// The id that the log has now: another one than [`Store::log_id`] once somebody gave it a new one. Cheap; may be asked every second.
    ///
    /// # Errors
    /// As of a read.
    pub async fn current_log(&self) -> Stored<LogId> {
        let read = async |db: Arc<Db>| match accounts::kept(&db, LOG_ID).await? {
            Some(kept) => parse_log_id(kept),
            None => Err(damaged("the log's id is missing")),
        };
        self.run("current_log", read).await
    }

    async fn prepare(options: &CqlOptions) -> Result<Db, CqlOpenError> {
        let session = connect::connect(options).await?;
        let without_tablets = tablets::are_in_the_way(&session).await?;
        schema::make_keyspace(&session, &options.keyspace, options.replication, without_tablets).await?;
        // Somebody else made it.
        if without_tablets && tablets::has(&session, &options.keyspace).await? {
            return Err(CqlOpenError::Setting(format!(
                "the keyspace {} has tablets, with which this version of ScyllaDB has no lightweight transactions: make it with \
                 AND tablets = {{'enabled': false}}, or name one that is not there yet by --cql-keyspace (CQL_KEYSPACE)",
                options.keyspace
            )));
        }
        schema::make_tables(&session, &options.keyspace).await?;
        let statements = Statements::prepare(&session, &options.keyspace).await?;
        Ok(Db { session, statements, layout: AtomicU32::new(schema::VERSION) })
    }

    /// Does `work`, and measures it.
    fn run<T, E, F>(
        &self,
        what: &'static str,
        work: impl FnOnce(Arc<Db>) -> F,
    ) -> PortFuture<'static, Result<T, E>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let work = work(self.db.clone());
        Box::pin(async move {
            let began = Instant::now();
            let result = work.await;
            histogram!(SECONDS, "op" => what).record(began.elapsed());
            if result.is_err() {
                counter!(ERRORS, "op" => what).increment(1);
            }
            result
        })
    }
}

fn parse_log_id(kept: Vec<u8>) -> Stored<LogId> {
    let bytes = kept.try_into().map_err(|_| damaged("the log's id has another form"))?;
    Ok(LogId(u128::from_be_bytes(bytes)))
}

impl Store for CqlStore {
    fn log_id(&self) -> LogId {
        self.log_id
    }

    fn partitions(&self, candidate: Partitions) -> PortFuture<'_, Stored<Partitions>> {
        self.run("partitions", async move |db| {
            let kept = accounts::shared(&db, "partitions", candidate.count().to_be_bytes().to_vec()).await?;
            let count = kept.try_into().ok().map(u16::from_be_bytes).and_then(Partitions::new);
            count.ok_or_else(|| damaged("the number of partitions has another form"))
        })
    }

    fn claim(&self, partition: Partition) -> PortFuture<'_, Stored<Epoch>> {
        self.run("claim", async move |db| log::claim(&db, partition).await)
    }

    fn fence(&self, partition: Partition) -> PortFuture<'_, Stored<Epoch>> {
        self.run("fence", async move |db| log::fence(&db, partition).await)
    }

    fn segments(&self, room: RoomId) -> PortFuture<'_, Stored<Vec<Segment>>> {
        self.run("segments", async move |db| log::segments(&db, &room).await)
    }

    fn put_segment(&self, room: RoomId, segment: Segment) -> PortFuture<'_, Stored<()>> {
        self.run("put_segment", async move |db| log::put_segment(&db, &room, segment).await)
    }

    fn append_then(&self, append: &Append, appended: Appended) {
        let append = append.clone();
        let done = self.run("append", async move |db| log::append(&db, append).await);
        self.runtime.spawn(async move { appended.tell(done.await) });
    }

    fn erase(&self, erased: Append) -> PortFuture<'_, Stored<()>> {
        self.run("erase", async move |db| log::erase(&db, erased).await)
    }

    fn bar(&self, room: RoomId, epoch: Epoch, from: Seq) -> PortFuture<'_, Stored<()>> {
        self.run("bar", async move |db| log::bar(&db, &room, epoch, from).await)
    }

    fn trim(&self, trim: Trim) -> PortFuture<'_, Stored<Seq>> {
        self.run("trim", async move |db| retention::trim(&db, trim).await)
    }

    fn rooms_with_retention(
        &self,
        after: Option<RoomId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<RoomId>>> {
        self.run("rooms_with_retention", async move |db| retention::rooms(&db, after, limit).await)
    }

    fn read(&self, read: Read) -> PortFuture<'_, Stored<Vec<Entry>>> {
        self.run("read", async move |db| log::read(&db, read).await)
    }

    fn project(&self, projection: Projection) -> PortFuture<'_, Stored<()>> {
        self.run("project", async move |db| project::project(&db, projection).await)
    }

    fn room(&self, room: RoomId) -> PortFuture<'_, Stored<Option<RoomRow>>> {
        self.run("room", async move |db| lists::room(&db, room).await)
    }

    fn members(
        &self,
        room: RoomId,
        after: Option<UserId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<MemberRow>>> {
        self.run("members", async move |db| lists::members(&db, &room, after, limit).await)
    }

    fn rooms_of(
        &self,
        user: UserId,
        after: Option<RoomId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<JoinedRoom>>> {
        self.run("rooms_of", async move |db| lists::rooms_of(&db, &user, after, limit).await)
    }

    fn rooms_ever_of(
        &self,
        user: UserId,
        after: Option<RoomId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<RoomId>>> {
        self.run("rooms_ever_of", async move |db| lists::rooms_ever_of(&db, &user, after, limit).await)
    }

    fn directory(
        &self,
        after: Option<DirectoryCursor>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<RoomRow>>> {
        self.run("directory", async move |db| lists::directory(&db, after, limit).await)
    }

    fn check(&self) -> PortFuture<'_, Stored<()>> {
        self.run("check", async move |db| {
            let now = Millis::from(SystemTime::now()).0;
            let probe = db.session.execute_unpaged(&db.statements.probe, (i64::try_from(now).unwrap_or(0),));
            probe.await.map(drop).map_err(unavailable)
        })
    }
}

impl AccountStore for CqlStore {
    fn insert(&self, account: AccountRow) -> PortFuture<'_, Result<(), AccountStoreError>> {
        self.run("insert_account", async move |db| accounts::insert(&db, account).await)
    }

    fn by_email(&self, email: String) -> PortFuture<'_, Result<Option<AccountRow>, AccountStoreError>> {
        self.run("account", async move |db| Ok(accounts::by_email(&db, email).await?))
    }

    fn shared_secret(
        &self,
        name: &'static str,
        candidate: Vec<u8>,
    ) -> PortFuture<'_, Result<Vec<u8>, AccountStoreError>> {
        self.run("shared_secret", async move |db| Ok(accounts::shared(&db, name, candidate).await?))
    }
}

impl Bans for CqlStore {
    fn put_ban(&self, ban: Ban) -> PortFuture<'_, Stored<()>> {
        self.run("put_ban", async move |db| bans::put(&db, ban).await)
    }

    fn lift_ban(&self, user: UserId) -> PortFuture<'_, Stored<()>> {
        self.run("lift_ban", async move |db| bans::lift(&db, user).await)
    }

    fn bans(&self) -> PortFuture<'_, Stored<Vec<Ban>>> {
        self.run("bans", async move |db| bans::all(&db).await)
    }
}

impl Revocations for CqlStore {
    fn put_revocation(&self, revocation: Revocation) -> PortFuture<'_, Stored<()>> {
        self.run("put_revocation", async move |db| revocations::put(&db, revocation).await)
    }

    fn revocations(&self, since: Millis) -> PortFuture<'_, Stored<Vec<Revocation>>> {
        self.run("revocations", async move |db| revocations::all(&db, since).await)
    }
}

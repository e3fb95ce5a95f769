//! Every contract suite on every adapter.

mod accounts {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use hubbub_adapters::accounts::{BuiltIn, BuiltInOptions};
    use hubbub_core::contract::accounts;
    use hubbub_core::ports::PortFuture;
    use hubbub_core::ports::accounts::{AccountRow, AccountStore, AccountStoreError};

    /// As little of a store as the accounts need.
    #[derive(Default)]
    struct Rows {
        rows: Mutex<HashMap<String, AccountRow>>,
        secrets: Mutex<HashMap<&'static str, Vec<u8>>>,
    }

    impl AccountStore for Rows {
        fn insert(&self, account: AccountRow) -> PortFuture<'_, Result<(), AccountStoreError>> {
            let mut rows = self.rows.lock().expect("not poisoned");
            let is_taken = rows.contains_key(&account.email);
            if !is_taken {
                rows.insert(account.email.clone(), account);
            }
            Box::pin(std::future::ready(if is_taken { Err(AccountStoreError::Taken) } else { Ok(()) }))
        }

        fn by_email(&self, email: String) -> PortFuture<'_, Result<Option<AccountRow>, AccountStoreError>> {
            Box::pin(std::future::ready(Ok(self.rows.lock().expect("not poisoned").get(&email).cloned())))
        }

        fn shared_secret(
            &self,
            name: &'static str,
            candidate: Vec<u8>,
        ) -> PortFuture<'_, Result<Vec<u8>, AccountStoreError>> {
            let kept = self.secrets.lock().expect("not poisoned").entry(name).or_insert(candidate).clone();
            Box::pin(std::future::ready(Ok(kept)))
        }
    }

    async fn of(store: &Arc<Rows>) -> BuiltIn {
        BuiltIn::open(store.clone(), BuiltInOptions::default()).await.expect("opens")
    }

    macro_rules! on_built_in_accounts {
        ($($sentence:ident)*) => {
            $(#[tokio::test]
            async fn $sentence() {
                accounts::$sentence(&of(&Arc::default()).await).await;
            })*
        };
    }

    on_built_in_accounts!(
        a_token_stands_for_who_logged_in
        an_address_is_taken_in_any_case
        wrong_credentials_do_not_say_what_is_wrong
        a_wrong_field_is_named
        guessing_is_limited_for_each_account
        an_algorithm_of_the_callers_choice_is_refused
        a_tampered_token_is_refused
        nothing_secret_is_printed
    );

    #[tokio::test]
    async fn an_expired_token_is_refused() {
        let options = BuiltInOptions { token_ttl: Duration::ZERO, ..BuiltInOptions::default() };
        let over_at_once = BuiltIn::open(Arc::<Rows>::default(), options).await.expect("opens");
        accounts::an_expired_token_is_refused(&over_at_once).await;
    }

    #[tokio::test]
    async fn a_token_of_another_key_is_refused() {
        let (here, elsewhere) = (of(&Arc::default()).await, of(&Arc::default()).await);
        accounts::a_token_of_another_key_is_refused(&here, &elsewhere).await;
    }

    #[tokio::test]
    async fn a_token_counts_on_every_node() {
        let store = Arc::default();
        accounts::a_token_counts_on_every_node(&of(&store).await, &of(&store).await).await;
    }
}

mod bus {
    use hubbub_adapters::bus::LocalBus;
    use hubbub_core::contract::bus;

    macro_rules! on_the_local_bus {
        ($($sentence:ident)*) => {
            $(#[tokio::test]
            async fn $sentence() {
                bus::$sentence(&LocalBus::default()).await;
            })*
        };
    }

    on_the_local_bus!(
        a_listener_hears_its_subject_in_order
        a_dropped_subscription_is_over
        a_request_is_answered_once_and_in_order
        a_silent_server_does_not_keep_another_from_answering
        an_answer_is_told_once
        an_unanswered_request_says_which
        a_payload_over_the_limit_is_refused
        a_message_takes_its_traces_along
        a_whole_thing_is_heard_as_itself_or_as_its_bytes
    );
}

mod leases {
    use hubbub_adapters::leases::LocalLeases;
    use hubbub_core::contract::leases;

    macro_rules! on_local_leases {
        ($($sentence:ident)*) => {
            $(#[tokio::test]
            async fn $sentence() {
                leases::$sentence(&LocalLeases::default()).await;
            })*
        };
    }

    on_local_leases!(a_lease_is_taken_by_one a_released_lease_is_free_at_once each_partition_has_its_own);
}

mod store {
    use std::time::Duration;

    use hubbub_adapters::store::{EmbeddedStore, Options};
    use hubbub_core::contract::store;
    use tempfile::TempDir;

    fn folder() -> TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn open(folder: &TempDir) -> EmbeddedStore {
        EmbeddedStore::open(folder.path(), Options::default()).expect("opens")
    }

    /// A store in which hardly anything stays in the journal.
    fn open_folding(folder: &TempDir) -> EmbeddedStore {
        let options =
            Options { fold_after: Duration::ZERO, commit_pace: Duration::ZERO, ..Options::default() };
        EmbeddedStore::open(folder.path(), options).expect("opens")
    }

    macro_rules! on_an_embedded_store {
        ($module:ident, $open:ident, $suite:ident: fresh $($fresh:ident)*; reopened $($reopened:ident)*) => {
            mod $module {
                use hubbub_core::contract::$suite;
                $(#[tokio::test]
                async fn $fresh() {
                    let folder = super::folder();
                    $suite::$fresh(&super::$open(&folder)).await;
                })*
                $(#[tokio::test]
                async fn $reopened() {
                    let folder = super::folder();
                    $suite::$reopened(&mut || Box::new(super::$open(&folder))).await;
                })*
            }
        };
    }

    macro_rules! of_logs {
        ($module:ident, $open:ident) => {
            on_an_embedded_store!($module, $open, store:
                fresh
                the_number_of_partitions_is_the_first_one
                a_claim_is_higher_than_any_before
                entries_are_read_as_they_were_written
                each_room_and_epoch_has_its_own_rows
                a_write_may_be_repeated_in_any_order
                a_read_stops_when_its_bytes_are_reached
                a_read_sees_what_was_written_before_it
                segments_are_listed_by_epoch
                a_projection_is_seen_when_it_returned
                a_late_projection_changes_nothing_newer
                members_come_in_pages
                rooms_of_a_user_come_in_pages
                rooms_that_a_user_was_ever_in_come_in_pages
                the_directory_comes_in_pages_newest_first
                a_dropped_write_is_unknown_and_repeatable
                a_working_store_says_so;
                reopened
                a_claim_survives
                what_was_acked_survives
            );
        };
    }

    of_logs!(gathering, open);
    of_logs!(folding, open_folding);

    macro_rules! of_what_goes {
        ($module:ident, $open:ident) => {
            on_an_embedded_store!($module, $open, forgetting:
                fresh
                the_last_erasure_is_projected
                what_is_kept_is_projected;
                reopened
                what_was_erased_is_gone
                what_was_trimmed_is_gone
            );
        };
    }

    of_what_goes!(forgetting_while_gathering, open);
    of_what_goes!(forgetting_while_folding, open_folding);

    on_an_embedded_store!(accounts, open, account_store:
        fresh
        an_account_is_found_by_its_address
        an_address_and_an_id_are_taken_once
        a_shared_secret_is_the_first_candidate;
        reopened
        accounts_and_secrets_survive
    );

    on_an_embedded_store!(called_back, open, revocations:
        fresh
        what_is_called_back_is_read
        a_token_is_refused_until_the_latest_of_its_ends
        what_has_ended_takes_nothing_along;
        reopened
        revocations_survive
    );

    on_an_embedded_store!(banned, open, bans:
        fresh
        bans_are_listed_as_they_were_kept
        a_later_ban_takes_the_place_of_the_one_before
        a_lifted_ban_is_gone;
        reopened
        bans_survive
    );

    #[tokio::test]
    async fn a_store_is_shared() {
        let folder = folder();
        store::a_store_is_shared(std::sync::Arc::new(open(&folder))).await;
    }

    #[tokio::test]
    async fn a_store_has_one_log_id_for_ever() {
        let (one, another) = (folder(), folder());
        store::a_store_has_one_log_id_for_ever(&mut || Box::new(open(&one)), &mut || {
            Box::new(open(&another))
        })
        .await;
    }
}

mod broker_local {
    use bytes::Bytes;
    use hubbub_adapters::broker::{LocalBots, LocalBroker};
    use hubbub_core::contract::broker::{self, Bots};
    use hubbub_core::ports::PortFuture;
    use hubbub_core::ports::broker::Broker;
    use tokio::sync::Mutex;

    struct Both {
        broker: LocalBroker,
        bots: Mutex<LocalBots>,
    }

    impl Bots for Both {
        fn broker(&self) -> &dyn Broker {
            &self.broker
        }

        fn take(&self) -> PortFuture<'_, (String, Bytes)> {
            Box::pin(async {
                let command = self.bots.lock().await.take().await.expect("the chat is there");
                (command.id, command.body)
            })
        }

        fn say(&self, id: Option<&'static str>, body: &'static str) -> PortFuture<'_, ()> {
            Box::pin(async move {
                let answers = self.bots.lock().await.answers();
                answers.say(id.map(Into::into), Bytes::from_static(body.as_bytes())).await;
            })
        }
    }

    macro_rules! on_the_local_broker {
        ($($sentence:ident)*) => {
            $(#[tokio::test]
            async fn $sentence() {
                let (broker, bots) = LocalBroker::new();
                broker::$sentence(&Both { broker, bots: Mutex::new(bots) }).await;
            })*
        };
    }

    on_the_local_broker!(
        a_confirmed_command_is_in_the_queue
        what_is_not_settled_comes_again
        an_answer_without_an_id_is_known_again
    );
}

//! Every contract suite on every adapter.

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
        an_unanswered_request_says_which
        a_payload_over_the_limit_is_refused
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

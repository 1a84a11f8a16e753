//! Serving, and the way out.
//!
//! The way out, in order: health says NOT_SERVING and new calls are refused; every call gets its summaries and UNAVAILABLE; connections
//! and the admin port close; the workers end; what waits for the journal is written, and what can be posted of it at once is. All within
//! the drain's deadline, or what is left is cut off.

use std::{any::Any, panic, sync::Arc, time::Duration};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tonic::transport::{self, server::TcpIncoming};

use super::{
    CancellationToken, Listening, Server, Unfinished, admin,
    bounds::Bounded,
    crew::Crew,
    health::{Health, Readiness},
    proto::{self, supervision_service_server::SupervisionServiceServer},
    reload::Reloader,
    rules,
    supervise::{Supervision, Watchers},
    whole::Whole,
};
use crate::{config, session::Sessions};

/// Streams of one connection beyond the live legs, for health, reflection, unary calls and those that are about to be refused.
const SPARE_STREAMS: u32 = 256;

/// Histograms keep every value until they are read or looked after; Prometheus commonly reads every 15 s.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long connections may take to close where somebody watches: those who read do so at once.
const WATCHERS_CLOSE: Duration = Duration::from_secs(2);

impl Listening {
    /// Serves, from within tokio's multi-threaded runtime.
    pub async fn start(self) -> Server {
        let health = Health::ready().await;
        let closing = CancellationToken::new();
        let incoming = TcpIncoming::from(self.grpc).with_nodelay(Some(true));
        let crew = Crew::new(self.sessions.clone(), health.clone());
        self.workers.into_iter().for_each(|worker| crew.run(worker));
        let exporter = self.recorder.handle();
        let running = (self.config.clone(), self.rules);
        let reloader = Reloader::new(self.source, self.recorder, crew.clone(), self.sessions.clone(), running);
        let watchers = Watchers::default();
        let supervision = Supervision::new(self.sessions.clone(), watchers.clone(), closing.clone());
        let router =
            router(&self.config.http2, &self.sessions, &health).add_service(SupervisionServiceServer::new(supervision));
        let served = router.serve_with_incoming_shutdown(incoming, closing.clone().cancelled_owned());
        let admin = axum::serve(self.admin, admin::router(health.readiness(), exporter.clone(), Arc::clone(&reloader)))
            .with_graceful_shutdown(closing.clone().cancelled_owned());
        let others = vec![
            tokio::spawn(async move { report(admin.await, "the admin port") }),
            tokio::spawn(upkeep(exporter, closing.clone())),
            tokio::spawn(rules::watch(Arc::clone(&reloader), closing.clone())),
            tokio::spawn(watch_journal(self.sessions.journal().writable(), health.clone(), closing.clone())),
            tokio::spawn(self.sessions.journal().clone().keep_expiring(closing.clone())),
            tokio::spawn(self.sessions.clone().follow_actions(self.started, closing.clone())),
            tokio::spawn(self.sessions.clone().keep_company(closing.clone())),
            tokio::spawn(self.sessions.clone().speak_for_the_dead(closing.clone())),
            tokio::spawn(self.sessions.clone().keep_forgetting(closing.clone())),
            tokio::spawn(self.sessions.clone().finish_withdrawals(closing.clone())),
            tokio::spawn(self.sessions.clone().tell_lost_calls(self.node, self.started, closing.clone())),
        ];
        let closing_journal = CancellationToken::new();
        let feeder = tokio::spawn(self.feeder.run(closing_journal.clone()));
        let closing_webhook = CancellationToken::new();
        let receivers = self.webhook.start(&closing_webhook);
        if let Some(limit) = self.sessions.engines().measured() {
            tracing::info!(
                windows_per_second = limit.floor(),
                calls = (limit / 2.0).floor(),
                "the machine was measured"
            );
        }
        self.sessions.engines().log();
        tracing::info!(grpc = %self.grpc_address, admin = %self.admin_address, "serving");
        Server {
            grpc_address: self.grpc_address,
            admin_address: self.admin_address,
            sessions: self.sessions,
            health,
            reloader,
            crew,
            closing,
            watchers,
            closing_journal,
            feeder,
            closing_webhook,
            receivers,
            grpc: tokio::spawn(async move { report::<transport::Error>(served.await, "gRPC") }),
            others,
        }
    }
}

impl Server {
    /// Drains, then ends everything. Whatever panicked meanwhile panics here.
    pub async fn stop(self) -> Result<(), Unfinished> {
        let drain_deadline = self.reloader.running().drain_deadline;
        let deadline = Instant::now() + drain_deadline;
        tracing::info!(legs = self.sessions.live_legs(), "shutting down");
        self.health.tell(Readiness::Draining).await;
        let drained = tokio::time::timeout_at(deadline, self.sessions.drain()).await;
        let legs = self.sessions.live_legs();
        let mut cut_off = drained.is_err();
        let mut panics: Vec<Box<dyn Any + Send>> = drained.ok().flatten().into_iter().collect();
        self.health.close().await;
        self.closing.cancel();
        // One who watches and never reads cannot be told, and loses nothing that he cannot read again.
        let watched = self.watchers.standing() > 0;
        let until = if watched { deadline.min(Instant::now() + WATCHERS_CLOSE) } else { deadline };
        let closed = join(self.grpc, until, &mut panics).await.is_some();
        cut_off |= !closed && !watched;
        // Only now does nobody hand in any more: unary requests had to be answered too.
        self.sessions.close_engines();
        match tokio::time::timeout_at(deadline, self.crew.ended()).await {
            Ok(panic) => panics.extend(panic),
            Err(_) => cut_off = true,
        }
        for task in self.others {
            cut_off |= join(task, deadline, &mut panics).await.is_none();
        }
        self.closing_journal.cancel();
        let fed = join(self.feeder, deadline, &mut panics).await;
        cut_off |= fed.is_none();
        self.closing_webhook.cancel();
        for receiver in self.receivers {
            cut_off |= join(receiver, deadline, &mut panics).await.is_none();
        }
        cut_off |= tokio::time::timeout_at(deadline, self.sessions.journal().close()).await.is_err();
        if let Some(panic) = panics.into_iter().next() {
            panic::resume_unwind(panic);
        }
        match fed.flatten() {
            Some(deletions @ 1..) => Err(Unfinished::NotDeleted { deletions }),
            _ if cut_off => Err(Unfinished::CutOff { deadline: drain_deadline, legs }),
            _ => Ok(()),
        }
    }
}

fn router(http2: &config::Http2, sessions: &Sessions, health: &Health) -> tonic::transport::server::Router {
    let legs = u32::try_from(sessions.limits().max_legs).unwrap_or(u32::MAX);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // Clients that know us by reflection alone can so read the details of a status.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let valid = "the descriptors were made by the compiler of this build";
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(http2.keepalive_interval))
        .http2_keepalive_timeout(Some(http2.keepalive_timeout))
        // A gateway may carry all of its calls over one connection; admission alone refuses.
        .max_concurrent_streams(legs.saturating_add(SPARE_STREAMS))
        .add_service(health.service())
        .add_service(reflection().build_v1().expect(valid))
        .add_service(reflection().build_v1alpha().expect(valid))
        .add_service(Whole(Bounded::new(sessions)))
}

/// Tells whether the journal can be written.
async fn watch_journal(mut writable: watch::Receiver<bool>, health: Health, closing: CancellationToken) {
    while let Some(Ok(())) = closing.run_until_cancelled(writable.changed()).await {
        let writable = *writable.borrow_and_update();
        health.tell_journal(writable);
    }
}

async fn upkeep(exporter: PrometheusHandle, closing: CancellationToken) {
    let mut ticks = tokio::time::interval(UPKEEP);
    while closing.run_until_cancelled(ticks.tick()).await.is_some() {
        let exporter = exporter.clone();
        // A thousand calls leave some 90,000 values, which no executor has the time for.
        let done = tokio::task::spawn_blocking(move || exporter.run_upkeep()).await;
        if let Some(panic) = done.err().and_then(|error| error.try_into_panic().ok()) {
            panic::resume_unwind(panic);
        }
    }
}

/// Waits for a task until the deadline, and cuts it off then: `None`. Else what it gave, where it did not panic.
async fn join<T>(
    mut task: JoinHandle<T>,
    deadline: Instant,
    panics: &mut Vec<Box<dyn Any + Send>>,
) -> Option<Option<T>> {
    // Even past the deadline a task that is done is joined.
    match tokio::time::timeout_at(deadline, &mut task).await {
        Ok(Ok(given)) => Some(Some(given)),
        Ok(Err(error)) => {
            panics.extend(error.try_into_panic());
            Some(None)
        }
        Err(_) => {
            task.abort();
            None
        }
    }
}

fn report<E: std::fmt::Display>(served: Result<(), E>, what: &'static str) {
    if let Err(error) = served {
        tracing::error!(%error, what, "serving ended");
    }
}

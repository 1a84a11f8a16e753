//! Whether the server takes calls, as gRPC's health protocol and /readyz tell it: overall and for the service.

use tokio::sync::watch;
use tonic::server::NamedService as _;
use tonic_health::{ServingStatus, pb::health_server, server::HealthReporter, server::HealthService};

use super::{
    proto::{emotion_service_server::EmotionServiceServer, supervision_service_server::SupervisionServiceServer},
    service::Service,
    supervise::Supervision,
};

/// Whether the server takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It does.
    Ready,
    /// It is on its way out.
    Draining,
    /// A model's inference stopped for good.
    Failed,
    /// It does, but what should be kept of them cannot be written.
    JournalNotWritable,
}

/// Tells both protocols.
#[derive(Clone)]
pub(super) struct Health {
    reporter: HealthReporter,
    readiness: watch::Sender<Readiness>,
}

const OVERALL: &str = "";
const SERVICES: [&str; 3] =
    [OVERALL, EmotionServiceServer::<Service>::NAME, SupervisionServiceServer::<Supervision>::NAME];

impl Health {
    /// Ready.
    pub(super) async fn ready() -> Self {
        let health = Self { reporter: HealthReporter::new(), readiness: watch::Sender::new(Readiness::Ready) };
        health.tell(Readiness::Ready).await;
        health
    }

    /// Tells both protocols. A server that drains stays so.
    pub(super) async fn tell(&self, readiness: Readiness) {
        self.readiness.send_modify(|told| {
            if *told != Readiness::Draining {
                *told = readiness;
            }
        });
        let ready = matches!(*self.readiness.borrow(), Readiness::Ready | Readiness::JournalNotWritable);
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in SERVICES {
            self.reporter.set_service_status(service, status).await;
        }
    }

    /// Tells both protocols that inference, which had failed, goes on. Whatever else is the matter stays.
    pub(super) async fn tell_recovered(&self, journal_writable: bool) {
        if *self.readiness.borrow() == Readiness::Failed {
            let now = if journal_writable { Readiness::Ready } else { Readiness::JournalNotWritable };
            self.tell(now).await;
        }
    }

    /// Tells /readyz alone: calls are analysed all the same, and gRPC's health speaks of calls.
    pub(super) fn tell_journal(&self, writable: bool) {
        self.readiness.send_modify(|told| match (*told, writable) {
            (Readiness::Ready, false) => *told = Readiness::JournalNotWritable,
            (Readiness::JournalNotWritable, true) => *told = Readiness::Ready,
            _ => {}
        });
    }

    /// Ends the streams of those who watch, which a shutdown would wait for.
    pub(super) async fn close(mut self) {
        for service in SERVICES {
            self.reporter.clear_service_status(service).await;
        }
    }

    pub(super) fn service(&self) -> health_server::HealthServer<HealthService> {
        health_server::HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    pub(super) fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.subscribe()
    }
}

//! `undertone.v1.SupervisionService`: each method in a few lines; those that take more have a file.
//!
//! Nothing here is on a call's way: watchers pull from the journal and from the picture of the calls that live, each at its own pace,
//! and hold one message each.

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait};

use super::{
    convert,
    proto::{self, supervision_service_server::SupervisionService},
    status::Problem,
};
use crate::session::{Denied, Sessions};

mod list;
mod watch_alerts;
mod watch_calls;
mod watchers;

pub(super) use watchers::Watchers;

/// The service over one server's sessions.
pub(super) struct Supervision {
    sessions: Sessions,
    watchers: Watchers,
    /// Cancelled when connections are to be closed.
    closing: CancellationToken,
}

impl Supervision {
    pub(super) fn new(sessions: Sessions, watchers: Watchers, closing: CancellationToken) -> Self {
        Self { sessions, watchers, closing }
    }
}

#[async_trait]
impl SupervisionService for Supervision {
    type WatchAlertsStream = watch_alerts::Responses;
    type WatchCallsStream = watch_calls::Responses;

    async fn watch_alerts(
        &self,
        request: Request<proto::WatchAlertsRequest>,
    ) -> Result<Response<Self::WatchAlertsStream>, Status> {
        let watch = convert::watch_alerts(request.into_inner())?;
        let place = self.watchers.of_alerts(&self.sessions)?;
        Ok(Response::new(watch_alerts::watch(&self.sessions, watch, place, self.closing.clone()).await?))
    }

    async fn watch_calls(
        &self,
        request: Request<proto::WatchCallsRequest>,
    ) -> Result<Response<Self::WatchCallsStream>, Status> {
        let watch = convert::watch_calls(request.into_inner())?;
        let place = self.watchers.of_calls(&self.sessions)?;
        Ok(Response::new(watch_calls::watch(self.sessions.clone(), watch, place, self.closing.clone())))
    }

    async fn list_calls(
        &self,
        request: Request<proto::ListCallsRequest>,
    ) -> Result<Response<proto::ListCallsResponse>, Status> {
        let listing = convert::call_listing(request.into_inner())?;
        Ok(Response::new(list::calls(&self.sessions, &listing).await?))
    }

    async fn get_call(
        &self,
        request: Request<proto::GetCallRequest>,
    ) -> Result<Response<proto::GetCallResponse>, Status> {
        let call_id = request.into_inner().call_id;
        convert::call_id(&call_id)?;
        Ok(Response::new(list::call(&self.sessions, call_id).await?))
    }

    async fn list_alerts(
        &self,
        request: Request<proto::ListAlertsRequest>,
    ) -> Result<Response<proto::ListAlertsResponse>, Status> {
        let listing = convert::alert_listing(request.into_inner())?;
        Ok(Response::new(list::alerts(&self.sessions, &listing).await?))
    }

    async fn acknowledge_alert(
        &self,
        request: Request<proto::AcknowledgeAlertRequest>,
    ) -> Result<Response<proto::AcknowledgeAlertResponse>, Status> {
        let request = request.into_inner();
        convert::alert_id(&request.alert_id)?;
        let by = convert::by(request.actor, request.reason)?;
        self.sessions.acknowledge(&request.alert_id, by).await.map_err(Problem::from)?;
        Ok(Response::new(proto::AcknowledgeAlertResponse {}))
    }

    async fn snooze_alert(
        &self,
        request: Request<proto::SnoozeAlertRequest>,
    ) -> Result<Response<proto::SnoozeAlertResponse>, Status> {
        let (alert_id, snooze) = convert::snooze(request.into_inner())?;
        self.sessions.snooze(&alert_id, snooze).await.map_err(Problem::from)?;
        Ok(Response::new(proto::SnoozeAlertResponse {}))
    }

    async fn register_call(
        &self,
        request: Request<proto::RegisterCallRequest>,
    ) -> Result<Response<proto::RegisterCallResponse>, Status> {
        let registration = convert::to_register(request.into_inner())?;
        let expires_at = Some(registration.expires_at.into());
        self.sessions.register(registration).await.map_err(Problem::from)?;
        Ok(Response::new(proto::RegisterCallResponse { expires_at }))
    }

    async fn withdraw_consent(
        &self,
        request: Request<proto::WithdrawConsentRequest>,
    ) -> Result<Response<proto::WithdrawConsentResponse>, Status> {
        let proto::WithdrawConsentRequest { call_id, leg_id, actor, reason } = request.into_inner();
        convert::call_id(&call_id)?;
        convert::withdrawn_leg(leg_id.as_deref())?;
        let by = convert::by_with_reason(actor, reason)?;
        let withdrawn = self.sessions.withdraw_consent(&call_id, leg_id.as_deref(), by).await;
        let forgotten = withdrawn.map_err(Problem::from)?;
        let live_legs = i32::try_from(forgotten.live_legs).unwrap_or(i32::MAX);
        Ok(Response::new(proto::WithdrawConsentResponse { live_legs, entries: convert::count(forgotten.entries) }))
    }

    async fn delete_call(
        &self,
        request: Request<proto::DeleteCallRequest>,
    ) -> Result<Response<proto::DeleteCallResponse>, Status> {
        let proto::DeleteCallRequest { call_id, actor, reason } = request.into_inner();
        convert::call_id(&call_id)?;
        let by = convert::by_with_reason(actor, reason)?;
        let forgotten = self.sessions.delete_call(&call_id, by).await.map_err(Problem::from)?;
        let live_legs = i32::try_from(forgotten.live_legs).unwrap_or(i32::MAX);
        Ok(Response::new(proto::DeleteCallResponse { live_legs, entries: convert::count(forgotten.entries) }))
    }

    async fn get_subject(
        &self,
        request: Request<proto::GetSubjectRequest>,
    ) -> Result<Response<proto::GetSubjectResponse>, Status> {
        let subject = request.into_inner().subject;
        convert::subject(&subject)?;
        let calls = list::subject(&self.sessions, &subject).await?;
        if calls.is_empty() {
            return Err(Problem::from(Denied::Unknown { what: "subject", id: subject }).into());
        }
        Ok(Response::new(proto::GetSubjectResponse { calls }))
    }

    async fn delete_subject(
        &self,
        request: Request<proto::DeleteSubjectRequest>,
    ) -> Result<Response<proto::DeleteSubjectResponse>, Status> {
        let proto::DeleteSubjectRequest { subject, actor, reason } = request.into_inner();
        convert::subject(&subject)?;
        let by = convert::by_with_reason(actor, reason)?;
        let forgotten = self.sessions.delete_subject(&subject, by).await.map_err(Problem::from)?;
        let live_legs = i32::try_from(forgotten.live_legs).unwrap_or(i32::MAX);
        Ok(Response::new(proto::DeleteSubjectResponse { live_legs, entries: convert::count(forgotten.entries) }))
    }
}

"""What `serve` without a configuration prints: the demo credentials, and a first command for each dialect."""

from .config import AnyrtcConfig, AppConfig, EasemobConfig, LeancloudConfig, WildfireConfig


def development_lines(app: AppConfig, base: str) -> list[str]:
    """Lines for a person at a terminal; `base` is the URL without a slash at its end."""
    connect = f"{base.replace('http', 'ws', 1)}/v1/connect"
    return [
        f"development broker: app {app.name}, with credentials that everyone knows, for this machine only",
        "receive (WebSocket, subprotocol postroom.v1.json):",
        f"  {connect}?token=$(postroom token --app {app.name} --user bob)",
        f"  postroom listen --url {connect} --user bob --ack --join lobby",
        *(_anyrtc(app.anyrtc, base) if app.anyrtc else ()),
        *(_leancloud(app.leancloud, base) if app.leancloud else ()),
        *(_easemob(app.easemob, base) if app.easemob else ()),
        *(_wildfire(app.wildfire, base) if app.wildfire else ()),
    ]


def _anyrtc(its: AnyrtcConfig, base: str) -> list[str]:
    return [
        f"anyRTC: app id {its.app_id}, key {its.api_key}, secret {its.api_secret}, certificate {its.app_certificate}",
        f"  curl -u {its.api_key}:{its.api_secret} \\",
        f"    {base}/dev/v2/project/{its.app_id}/rtm/users/alice/peer_messages \\",
        """    -d '{"destination": "bob", "payload": "hi", "enable_offline_messaging": true}'""",
    ]


def _leancloud(its: LeancloudConfig, base: str) -> list[str]:
    return [
        f"LeanCloud: app id {its.app_id}, app key {its.app_key}, master key {its.master_key}",
        f"  curl -H 'X-LC-Id: {its.app_id}' -H 'X-LC-Key: {its.app_key}' -H 'Content-Type: application/json' \\",
        f"""    {base}/1.2/rtm/conversations -d '{{"name": "team", "m": ["alice", "bob"]}}'""",
    ]


def _easemob(its: EasemobConfig, base: str) -> list[str]:
    return [
        f"Easemob (next): org {its.org_name}, app {its.app_name}, client id {its.client_id}, secret {its.client_secret}",
        f"  curl {base}/{its.org_name}/{its.app_name}/token \\",
        f"""    -d '{{"grant_type": "client_credentials", "client_id": "{its.client_id}", """
        f""""client_secret": "{its.client_secret}"}}'""",
    ]


def _wildfire(its: WildfireConfig, base: str) -> list[str]:
    return [f"Wildfire (next): secret {its.secret}", f"  curl {base}/admin/health"]

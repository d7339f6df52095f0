package plugins

import (
	"net/http"
	"strings"
)

// StatusOf is the HTTP status of a code: the table of api.md, section 4, for the core and for what plugins share. A code that
// it does not have says that an entry breaks a rule of its plugin: 422.
func StatusOf(code string) int {
	switch code {
	case "bad_json", "not_canonical", "bad_parameter", "bad_cursor", "bad_receipt":
		return http.StatusBadRequest
	case "unauthenticated", "bad_token", "bad_api_key", "challenge_used", "challenge_expired":
		return http.StatusUnauthorized
	case "forbidden", "bad_signature", "not_entitled", "not_participant", "right_missing", "not_valid_now", "tag_not_allowed",
		"record_limit", "locked", "owner_only", "refused", "custody_denied", "history_policy", "profile_rule":
		return http.StatusForbidden
	case "not_found", "unknown_operation", "unknown_did", "unknown_channel", "unknown_record":
		return http.StatusNotFound
	case "method_not_allowed":
		return http.StatusMethodNotAllowed
	case "not_acceptable":
		return http.StatusNotAcceptable
	case "slow_request":
		return http.StatusRequestTimeout
	case "replayed", "in_progress", "name_taken", "wrong_state", "bad_after", "epoch_conflict", "epoch_closed", "epoch_unknown",
		"blob_taken", "blob_incomplete", "not_final":
		return http.StatusConflict
	case "erased", "deactivated":
		return http.StatusGone
	case "version_mismatch":
		return http.StatusPreconditionFailed
	case "too_large":
		return http.StatusRequestEntityTooLarge
	case "unsupported_media_type":
		return http.StatusUnsupportedMediaType
	case "rate_limited", "quota_exceeded":
		return http.StatusTooManyRequests
	case "internal":
		return http.StatusInternalServerError
	case "keys_stay_with_client":
		return http.StatusNotImplemented
	case "busy", "behind", "no_quorum", "keystore_locked", "issuer_locked", "not_ready", "shutting_down":
		return http.StatusServiceUnavailable
	}
	return http.StatusUnprocessableEntity
}

// TitleOf turns a code into words, for a problem's title.
func TitleOf(code string) string {
	words := strings.ReplaceAll(code, "_", " ")
	return strings.ToUpper(words[:1]) + words[1:]
}

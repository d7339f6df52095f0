package identity

import "net/http"

// statuses are the HTTP statuses of the codes that only identity has (identity.md, section 4).
func statuses() map[string]int {
	return map[string]int{
		"threshold": http.StatusForbidden, "prerotation": http.StatusForbidden, "consent_missing": http.StatusForbidden,
		"unknown_list": http.StatusNotFound, "unsigned_list": http.StatusNotFound, "unknown_grant": http.StatusNotFound,
		"unknown_federation": http.StatusNotFound, "unknown_operation": http.StatusNotFound,
		"already_exists": http.StatusConflict, "bad_prev": http.StatusConflict, "conflict": http.StatusConflict,
		"stale_recovery": http.StatusConflict, "already_used": http.StatusConflict, "list_closed": http.StatusConflict,
		"not_list_home": http.StatusConflict, "grant_revoked": http.StatusConflict, "username_taken": http.StatusConflict,
		"context_not_installed": http.StatusUnprocessableEntity,
	}
}

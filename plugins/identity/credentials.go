package identity

import "weft/plugins"

func (x *identity) credentialRoutes() []plugins.Route { return nil }

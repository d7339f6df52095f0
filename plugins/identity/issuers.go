package identity

import "weft/plugins"

func (x *identity) issuerRoutes() []plugins.Route { return nil }

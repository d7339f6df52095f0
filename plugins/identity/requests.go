package identity

import "weft/plugins"

func (x *identity) requestRoutes() []plugins.Route { return nil }

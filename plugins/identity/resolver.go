package identity

import "weft/plugins"

func (x *identity) resolverRoutes() []plugins.Route { return nil }

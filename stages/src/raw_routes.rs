//! The Pod's routes with every attribute that the kernel showed, also those that [`Route`] does not.
//!
//! What is moved, copied or given back keeps them: a wanted route that says what an observed one says
//! is the observed one, in the wanted table.
//!
//! [`Route`]: coordinator_sdk::Route

use coordinator_sdk::{Family, KnownRoute, Side, TABLE_LOCAL};

use crate::{
    kernel::{
        netlink::NetlinkError,
        route::{self, RouteMessage},
    },
    sockets::SideSocket,
};

/// Observed routes, each as a value and as the kernel's own message.
#[derive(Debug, Default)]
pub struct RawRoutes {
    routes: Vec<(KnownRoute, RouteMessage)>,
}

impl RawRoutes {
    /// Reads the Pod's routes of some families, but for those of table `local`. The names of its links must be
    /// known.
    ///
    /// # Errors
    /// The kernel does not show them.
    pub fn read(pod: &mut SideSocket, families: &[Family]) -> Result<Self, NetlinkError> {
        Self::read_beside(pod, families, &[])
    }

    /// As [`RawRoutes::read`], but of the tables `aside` the default routes only.
    ///
    /// # Errors
    /// The kernel does not show them.
    pub fn read_beside(pod: &mut SideSocket, families: &[Family], aside: &[u32]) -> Result<Self, NetlinkError> {
        let mut routes = Vec::new();
        for family in families {
            for message in route::list_beside(&mut pod.netlink, *family, aside)? {
                let id = u32::try_from(routes.len()).unwrap_or(u32::MAX);
                let known = route::known(&message, id, Side::Pod, &pod.names);
                if known.route.table != TABLE_LOCAL {
                    routes.push((known, message));
                }
            }
        }
        Ok(Self { routes })
    }

    /// The routes as values.
    pub fn known(&self) -> impl Iterator<Item = &KnownRoute> {
        self.routes.iter().map(|(known, _)| known)
    }

    /// The message of a route that was observed as this.
    pub fn observed(&self, route: &KnownRoute) -> Option<RouteMessage> {
        let (_, message) = self.routes.iter().find(|(known, _)| known.same(route))?;
        Some(route::replayed(message))
    }

    /// The message that makes `wanted`, when it or one like it was observed.
    pub fn message(&self, wanted: &KnownRoute) -> Option<RouteMessage> {
        let same = self.routes.iter().find(|(known, _)| known.same(wanted));
        let like = || self.routes.iter().find(|(known, _)| known.is_like(wanted));
        let (_, message) = same.or_else(like).filter(|_| wanted.route.side == Side::Pod)?;
        Some(route::in_table(message, wanted.route.table, wanted.protocol))
    }
}

import Bus
import Daemon

extension AccountsClient {
    /// Where mail for other hosts goes.
    ///
    /// - Returns: nil where it goes to the hosts of its domain.
    /// - Throws: `deferred` where the route that it has by name isn't there now.
    package func route(for question: RouteTable.Question) async throws(AccountsError) -> RelayRoute? {
        let reply = try await request(question.frame)
        do throws(RelayRoute.Malformed) {
            return try RelayRoute.read(reply)
        } catch {
            throw .unavailable("authd: malformed \(error.field)")
        }
    }
}

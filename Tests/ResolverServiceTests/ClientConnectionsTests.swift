import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

struct ClientConnectionsTests {
    @Test func aClientHasSoManyByAllKindsTogether() {
        let clients = ClientConnections(limit: 2)
        let (one, other): ([UInt8], [UInt8]) = ([192, 0, 2, 1], [192, 0, 2, 2])
        #expect(clients.take(one) && clients.take(one))
        #expect(!clients.take(one))
        #expect(clients.take(other))
        clients.give(one)
        #expect(clients.take(one))
        #expect(!clients.take(one))
    }
}

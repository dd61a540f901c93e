import DNS
import Testing
import ZoneKeys

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

#if canImport(Glibc)
import Glibc
#endif

/// The directory of a resolver's keys, which goes with all in it when the test ends.
struct TestKeyDirectory {
    let keys: KeyDirectory
    private let path: String
    private let descriptor: CInt
    private let zone: DomainName
    private let base: String

    /// - Parameters:
    ///   - zone: whose keys there will be.
    ///   - base: what their files' names begin with.
    init(of resolver: TestResolver, zone: DomainName, base: String) throws {
        path = "\(resolver.directory)/keys"
        try #require(mkdir(path, 0o700) == 0)
        descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        keys = KeyDirectory(descriptor)
        self.zone = zone
        self.base = base
    }

    func remove() {
        for key in keys.keys(of: zone, base: base).keys { try? keys.remove(key) }
        close(descriptor)
        rmdir(path)
    }
}

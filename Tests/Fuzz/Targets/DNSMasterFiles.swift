import DNS

/// A zone's master file.
let dnsMasterFileTarget = FuzzTarget("dns-master-file") { input in
    _ = try? MasterFile.parse(Array(input), file: "zone", origin: .root) { _ in
        .failure(MasterFileIncludeError(reason: "there is no other file"))
    }
}

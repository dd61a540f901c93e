import MailIndex
import Mailbox
import MailboxProcess
import Network

extension MailboxSession {
    /// What is kept of the selected folder's messages; nil where nothing is, or it can't be used now.
    func index(of selected: SelectedFolder) async -> FolderIndex? {
        if let known = selected.index { return known }
        selected.index = await index(of: selected.folder, at: selected.path)
        return selected.index
    }

    /// The same for any folder.
    func index(of folder: any MailFolder, at path: FolderName) async -> FolderIndex? {
        guard let file = indexes?.index(indexFile) else { return nil }
        let (name, validity) = (path.description, folder.uidValidity)
        return await disk.run { file.folder(name, validity: validity) }
    }

    /// Has the folder's texts put into the index soon, so that searches find them at once.
    ///
    /// - Parameter uid: messages above this one alone: they have just come.
    func indexTexts(of selected: SelectedFolder, after uid: UInt32 = 0) {
        guard let indexer, let file = indexes?.index(indexFile), !selected.folder.messages.isEmpty else { return }
        let job = TextIndexer.Job(location: location, store: store, folder: selected.path, index: file, after: uid)
        indexer.add(job)
    }

    private var indexFile: String { location.indexFile(in: settings.mailDirectory) }
}

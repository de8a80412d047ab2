#!/usr/bin/env python3
"""What objects and buckets have beside content and metadata, at the S3 door, by boto3: tags,
attributes, access control lists.

    s3_settings.py BINARY [TEST...]

To be run by the Python of a venv with boto3 (`./dev s3-tools` makes it). Prints
`LAYER s3-settings required= executed= failed=`, where one test is one function below.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from s3 import Door, refused  # noqa: E402
from smoke import expect  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite('s3-settings')


def test(function):
    """Marks a test of the door: it has the bucket `buc`."""
    def call(server):
        door = Door(server)
        door.s3.create_bucket(Bucket='buc')
        function(door)
    return SUITE.at_both_doors(function, call)


def tag_set(**tags):
    return {'TagSet': [{'Key': k, 'Value': v} for k, v in tags.items()]}


def tags_of(door, key, **more):
    got = door.s3.get_object_tagging(Bucket=door.bucket, Key=key, **more)
    return {t['Key']: t['Value'] for t in got['TagSet']}


@test
def tags(door):
    """Tags of objects: with PUT, of their own, with copies and uploads in parts; they make no
    version, and a kill -9 takes none that was acknowledged."""
    s3, where = door.s3, {'Bucket': door.bucket, 'Key': 'k'}
    s3.put_object(**where, Body=b'1', Tagging='a=1&b%20c=%C3%A4')
    before = s3.head_object(**where)
    expect(before['ResponseMetadata']['HTTPHeaders']['x-amz-tagging-count'], '2')
    expect(s3.get_object(**where)['TagCount'], 2)
    expect(tags_of(door, 'k'), {'a': '1', 'b c': 'ä'})
    s3.put_object_tagging(**where, Tagging=tag_set(x='y'))
    door.server.kill()
    door.server.start()
    expect(tags_of(door, 'k'), {'x': 'y'})
    after = s3.head_object(**where)
    expect((after['ETag'], after['LastModified']), (before['ETag'], before['LastModified']))
    s3.delete_object_tagging(**where)
    expect(tags_of(door, 'k'), {})
    expect('x-amz-tagging-count' in s3.head_object(**where)['ResponseMetadata']['HTTPHeaders'],
           False)
    s3.put_object_tagging(**where, Tagging=tag_set(**{f'k{i}': '' for i in range(10)}))
    expect(len(tags_of(door, 'k')), 10)
    source = {'Bucket': door.bucket, 'Key': 'k'}
    s3.copy_object(Bucket=door.bucket, Key='same', CopySource=source)
    expect(len(tags_of(door, 'same')), 10)
    s3.copy_object(Bucket=door.bucket, Key='other', CopySource=source, TaggingDirective='REPLACE',
                   Tagging='n=1')
    expect(tags_of(door, 'other'), {'n': '1'})
    s3.copy_object(Bucket=door.bucket, Key='none', CopySource=source, TaggingDirective='REPLACE')
    expect(tags_of(door, 'none'), {})
    begun = s3.create_multipart_upload(Bucket=door.bucket, Key='m', Tagging='m=1')['UploadId']
    part = s3.upload_part(Bucket=door.bucket, Key='m', UploadId=begun, PartNumber=1, Body=b'1')
    s3.complete_multipart_upload(Bucket=door.bucket, Key='m', UploadId=begun, MultipartUpload={
        'Parts': [{'PartNumber': 1, 'ETag': part['ETag']}]})
    expect(tags_of(door, 'm'), {'m': '1'})
    s3.put_object(**where, Body=b'2')  # a new version has its own
    expect(tags_of(door, 'k'), {})
    many = tag_set(**{f'k{i}': '' for i in range(11)})
    refused(s3.put_object_tagging, 'BadRequest', 400, **where, Tagging=many)
    twice = {'TagSet': [{'Key': 'a', 'Value': '1'}] * 2}
    refused(s3.put_object_tagging, 'InvalidTag', 400, **where, Tagging=twice)
    refused(s3.put_object_tagging, 'InvalidTag', 400, **where, Tagging=tag_set(a='x' * 257))
    refused(s3.put_object_tagging, 'InvalidTag', 400, **where, Tagging=tag_set(**{'x' * 129: ''}))
    for wrong, code in (('a=1&a=2', 'InvalidArgument'), ('a=%f', 'InvalidArgument'),
                        ('=1', 'InvalidTag'), ('aws:a=1', 'InvalidTag')):
        refused(s3.put_object, code, 400, **where, Body=b'3', Tagging=wrong)
    refused(s3.put_object_tagging, 'NoSuchKey', 404, Bucket=door.bucket, Key='absent',
            Tagging=tag_set(a='1'))
    refused(s3.get_object_tagging, 'NoSuchKey', 404, Bucket=door.bucket, Key='absent')
    refused(s3.copy_object, 'InvalidArgument', 400, **where, CopySource=source, Tagging='a=1',
            MetadataDirective='REPLACE')
    expect(s3.get_object(**where)['Body'].read(), b'2')


@test
def views(door):
    """Tags in every view of the log: fsck finds nothing, and an index that is made again from packs
    has them."""
    s3, where = door.s3, {'Bucket': door.bucket}
    for key, body in (('small', b'1'), ('large', bytes(300000))):
        s3.put_object(**where, Key=key, Body=body, Tagging='a=1')
        s3.put_object_tagging(**where, Key=key, Tagging=tag_set(b=key))
    s3.put_bucket_tagging(**where, Tagging=tag_set(c='3'))
    server = door.server
    expect(server.stop(), 0)
    for command in (['fsck', server.data], ['recover', '--rebuild', 'index', server.data],
                    ['fsck', server.data]):
        done = subprocess.run([*server.binary, *command], capture_output=True, check=False,
                              timeout=300)
        expect(done.returncode, 0, (command, done.stdout, done.stderr))
    server.start()
    expect([tags_of(door, key) for key in ('small', 'large')], [{'b': 'small'}, {'b': 'large'}])
    expect(s3.get_bucket_tagging(**where)['TagSet'], [{'Key': 'c', 'Value': '3'}])
    expect(len(s3.get_object(**where, Key='large')['Body'].read()), 300000)


@test
def bucket_tags(door):
    s3, where = door.s3, {'Bucket': door.bucket}
    refused(s3.get_bucket_tagging, 'NoSuchTagSet', 404, **where)
    s3.put_bucket_tagging(**where, Tagging=tag_set(**{f'k{i}': 'ä' for i in range(50)}))
    door.server.kill()
    door.server.start()
    expect(len(s3.get_bucket_tagging(**where)['TagSet']), 50)
    many = tag_set(**{f'k{i}': '' for i in range(51)})
    refused(s3.put_bucket_tagging, 'BadRequest', 400, **where, Tagging=many)
    refused(s3.put_bucket_tagging, 'NoSuchBucket', 404, Bucket='absent', Tagging=tag_set(a='1'))
    refused(s3.get_bucket_tagging, 'NoSuchBucket', 404, Bucket='absent')
    s3.put_bucket_versioning(**where, VersioningConfiguration={'Status': 'Enabled'})
    expect(len(s3.get_bucket_tagging(**where)['TagSet']), 50)
    s3.delete_bucket_tagging(**where)
    refused(s3.get_bucket_tagging, 'NoSuchTagSet', 404, **where)
    expect(s3.get_bucket_versioning(**where)['Status'], 'Enabled')


@test
def attributes(door):
    s3, where = door.s3, {'Bucket': door.bucket, 'Key': 'k'}
    every = ['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize']
    put = s3.put_object(**where, Body=b'12345', ChecksumAlgorithm='SHA256')
    got = s3.get_object_attributes(**where, ObjectAttributes=every)
    expect((f'"{got["ETag"]}"', got['Checksum'], got['StorageClass'], got['ObjectSize']),
           (put['ETag'], {'ChecksumSHA256': put['ChecksumSHA256'], 'ChecksumType': 'FULL_OBJECT'},
            'STANDARD', 5))
    expect('ObjectParts' in got, False)
    expect(abs((got['LastModified'] - s3.head_object(**where)['LastModified']).total_seconds()), 0)
    got = s3.get_object_attributes(**where, ObjectAttributes=['ObjectSize'])
    expect(('ETag' in got, 'Checksum' in got, got['ObjectSize']), (False, False, 5))
    sizes = [5 << 20, 5 << 20, 7]
    begun = s3.create_multipart_upload(**where)['UploadId']
    parts = [{'PartNumber': 10 * i + 1, 'ETag': s3.upload_part(
        **where, UploadId=begun, PartNumber=10 * i + 1, Body=bytes(size))['ETag']}
        for i, size in enumerate(sizes)]
    s3.complete_multipart_upload(**where, UploadId=begun, MultipartUpload={'Parts': parts})
    got = s3.get_object_attributes(**where, ObjectAttributes=every)
    told = got['ObjectParts']
    expect((got['ObjectSize'], told['TotalPartsCount'], told['IsTruncated'], told['MaxParts']),
           (sum(sizes), 3, False, 1000))
    expect([(p['PartNumber'], p['Size']) for p in told['Parts']], list(enumerate(sizes, 1)))
    told = s3.get_object_attributes(**where, ObjectAttributes=['ObjectParts'], MaxParts=1,
                                    PartNumberMarker=1)['ObjectParts']
    expect((told['IsTruncated'], told['PartNumberMarker'], told['NextPartNumberMarker'],
            [p['PartNumber'] for p in told['Parts']]), (True, 1, 2, [2]))
    told = s3.get_object_attributes(**where, ObjectAttributes=['ObjectParts'],
                                    PartNumberMarker=9)['ObjectParts']
    expect((told['IsTruncated'], told.get('Parts', [])), (False, []))
    refused(s3.get_object_attributes, 'InvalidArgument', 400, **where, ObjectAttributes=['Other'])
    refused(s3.get_object_attributes, 'InvalidRequest', 400, **where, ObjectAttributes=[])
    refused(s3.get_object_attributes, 'NoSuchKey', 404, Bucket=door.bucket, Key='absent',
            ObjectAttributes=every)
    s3.put_bucket_versioning(Bucket=door.bucket, VersioningConfiguration={'Status': 'Enabled'})
    version = s3.put_object(**where, Body=b'1')['VersionId']
    marker = s3.delete_object(**where)['VersionId']
    got = s3.get_object_attributes(**where, VersionId=version, ObjectAttributes=every)
    expect((got['VersionId'], got['ObjectSize']), (version, 1))
    refused(s3.get_object_attributes, 'MethodNotAllowed', 405, **where, VersionId=marker,
            ObjectAttributes=every)


@test
def acls(door):
    """What is so anyway is taken, as programs send it back; nothing that would give others
    anything."""
    s3, where = door.s3, {'Bucket': door.bucket, 'Key': 'k'}
    s3.put_object(**where, Body=b'1')
    for get, put, named in ((s3.get_bucket_acl, s3.put_bucket_acl, {'Bucket': door.bucket}),
                            (s3.get_object_acl, s3.put_object_acl, where)):
        got = get(**named)
        expect([grant['Permission'] for grant in got['Grants']], ['FULL_CONTROL'])
        same = {'Owner': got['Owner'], 'Grants': got['Grants']}
        put(**named, AccessControlPolicy=same)
        put(**named, ACL='private')
        put(**named, ACL='bucket-owner-full-control')
        everyone = {'Grantee': {'Type': 'Group', 'URI':
                                'http://acs.amazonaws.com/groups/global/AllUsers'},
                    'Permission': 'READ'}
        reads = {**same, 'Grants': [{**got['Grants'][0], 'Permission': 'READ'}]}
        for wrong in ({'ACL': 'public-read'}, {'ACL': 'authenticated-read'},
                      {'GrantRead': 'id="1"'},
                      {'AccessControlPolicy': {**same, 'Grants': got['Grants'] + [everyone]}},
                      {'AccessControlPolicy': {**same, 'Grants': []}},
                      {'AccessControlPolicy': {**same, 'Owner': {'ID': '0' * 64}}},
                      {'AccessControlPolicy': reads}):
            refused(put, 'AccessControlListNotSupported', 400, **named, **wrong)
        refused(put, 'MissingSecurityHeader', 400, **named)
        expect(get(**named)['Grants'], got['Grants'])
    refused(s3.put_object_acl, 'NoSuchKey', 404, Bucket=door.bucket, Key='absent', ACL='private')
    refused(s3.put_bucket_acl, 'NoSuchBucket', 404, Bucket='absent', ACL='private')


if __name__ == '__main__':
    sys.exit(SUITE.main(sys.argv, __doc__))
